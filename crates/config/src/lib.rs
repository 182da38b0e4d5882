//! telamon-config
