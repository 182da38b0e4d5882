//! Heads on loan: a worker's own, with their buffers, for as long as bytes are in flight.

use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;

use telamon_http_proto::Head;

/// A head that the worker has lent, or an empty one in its place. It is passed on by a pointer.
#[derive(Debug, Default)]
pub struct LentHead(Option<Box<Head>>);

/// What is read where nothing was lent.
static EMPTY: LazyLock<Head> = LazyLock::new(Head::default);

impl LentHead {
    /// How many bytes its buffer holds; none where nothing was lent.
    pub(crate) fn room(&self) -> usize {
        self.0.as_ref().map_or(0, |head| head.input_capacity())
    }
}

impl From<Head> for LentHead {
    fn from(head: Head) -> Self {
        Self(Some(Box::new(head)))
    }
}

impl Deref for LentHead {
    type Target = Head;

    fn deref(&self) -> &Head {
        match &self.0 {
            Some(head) => head,
            None => &EMPTY,
        }
    }
}

impl DerefMut for LentHead {
    /// Makes one without a buffer where there is none.
    fn deref_mut(&mut self) -> &mut Head {
        self.0.get_or_insert_default()
    }
}
