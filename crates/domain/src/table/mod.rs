//! Tables that forget. What is expired is decided at the question, from stored time; sweeping only gives memory back.

pub mod dedup_window;
pub mod uniform;
pub mod uniques;
