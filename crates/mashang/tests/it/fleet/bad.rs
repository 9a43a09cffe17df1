//! What a fleet does with what it should never have been given.
