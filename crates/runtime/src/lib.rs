//! telamon-runtime
