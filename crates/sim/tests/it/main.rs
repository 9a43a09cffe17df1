//! Seeds: clean ones, equal ones, and those that show what a safeguard is for.

mod restored;
mod safeguards;
mod seeds;
