//! telamon-balance
