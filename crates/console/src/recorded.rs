//! A plane for tests: the rows that HAProxy showed, in `format/data/`.

use std::sync::Mutex;

use telamon_balance::stats::{
    ActError, Action, Column, Field, Info, Kind, Kinds, Proxy, Row, Source,
};

use crate::format::tests::rows;
use crate::select::text;

/// The frontend `fe1`, and the backend `be1` with its server `s2`.
#[derive(Default)]
pub(crate) struct Recorded {
    /// What was asked for.
    pub(crate) acts: Mutex<Vec<String>>,
    /// Rows added to `be1`.
    pub(crate) more: Vec<Row>,
}

impl Source for Recorded {
    fn proxies(&self) -> usize {
        2
    }

    fn proxy(&self, at: usize, kinds: Kinds) -> Option<Proxy> {
        let mut all = match at {
            0 => rows(include_str!("format/data/frontend.csv")),
            1 => {
                let mut all = rows(include_str!("format/data/server.csv"));
                all.extend(self.more.iter().cloned());
                all.append(&mut rows(include_str!("format/data/backend.csv")));
                all
            }
            _ => return None,
        };
        all.retain(|row| {
            kinds.has(match row.kind {
                Kind::Frontend => Kinds::FRONTEND,
                Kind::Backend => Kinds::BACKEND,
                Kind::Server => Kinds::SERVER,
                Kind::Listener => Kinds::LISTENER,
            })
        });
        Some(Proxy { description: None, rows: all })
    }

    fn info(&self, info: &mut Info) {
        info.set(Field::Name, "HAProxy").set(Field::Version, "2.6.12").set(Field::Pid, 4711_u32);
    }

    fn act(&self, backend: &str, server: &str, action: &Action) -> Result<(), ActError> {
        let known = self.proxy(1, Kinds::SERVER).is_some_and(|proxy| {
            proxy.rows.iter().any(|row| {
                text(row, Column::Pxname) == backend && text(row, Column::Svname) == server
            })
        });
        if !known {
            return Err(ActError::UnknownServer);
        }
        self.acts.lock().unwrap().push(format!("{backend}/{server} {action:?}"));
        Ok(())
    }
}
