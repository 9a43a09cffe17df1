//! How fast each database takes what a ledger writes: figures, not a test. `cargo test --release -p ledger speed -- --ignored --nocapture`
