//! telamon-console
