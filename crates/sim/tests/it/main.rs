//! Seeds: runs that end clean, equal runs, and runs that show what a safeguard prevents.

mod floods;
mod kills;
mod minted;
mod naive_by_hand;
mod restored;
mod safeguards;
mod seeds;
mod segments;
