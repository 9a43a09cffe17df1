//! What a client may do.
//!
//! - `keys`: the API keys in force, from a file
//! - `grant`: the rights of a key, or of a client without one

mod grant;
mod keys;

pub use grant::{Buckets, Grant};
pub use keys::{Keys, KeysError, SignatureError, Signed};
pub use wire::keys::Scope;
