//! TODO head

mod robots;
