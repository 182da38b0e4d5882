//! Which proxies and rows a dump or a page shows.

use telamon_balance::stats::{Column, Kind, Kinds, Proxy, Row, Source, Value};

/// What is shown; the default is everything.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// Numeric id of the only proxy (`iid`).
    pub(crate) proxy: Option<u64>,
    pub(crate) kinds: Kinds,
    /// Numeric id of the only server or listener (`sid`).
    pub(crate) object: Option<u64>,
    /// `up`: no servers that are down or in maintenance.
    pub(crate) hide_down: bool,
    /// `no-maint`: no servers in maintenance.
    pub(crate) hide_maint: bool,
    /// Names of proxies (`stats scope`); empty is all.
    pub(crate) names: Vec<Box<str>>,
    /// Addresses and cookies are for those who may see them.
    pub(crate) hide_addresses: bool,
    /// Text that the names hold (`scope=`), whatever the case.
    pub(crate) part: Option<String>,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            proxy: None,
            kinds: Kinds::ALL,
            object: None,
            hide_down: false,
            hide_maint: false,
            names: Vec::new(),
            hide_addresses: false,
            part: None,
        }
    }
}

impl Selection {
    /// The proxy at a place with the rows that are selected, or `None` past the last proxy.
    pub(crate) fn proxy(&self, source: &dyn Source, at: usize) -> Option<Proxy> {
        let hiding = self.hide_down || self.hide_maint;
        // Servers are counted even where only backends are shown.
        let kinds = if hiding { Kinds(self.kinds.0 | Kinds::SERVER.0) } else { self.kinds };
        let mut proxy = source.proxy(at, kinds)?;
        let (mut up, mut all) = (0, 0);
        for row in proxy.rows.iter().filter(|row| row.kind == Kind::Server) {
            all += 1;
            up += usize::from(!is_down(row) && !is_maint(row));
        }
        proxy.rows.retain(|row| self.has(row));
        if self.hide_addresses {
            for row in &mut proxy.rows {
                for column in [Column::Addr, Column::Cookie, Column::Algo] {
                    row.clear(column);
                }
            }
        }
        if hiding {
            for row in &mut proxy.rows {
                // The backend tells how many of its servers are up, since not all are seen.
                if row.kind == Kind::Backend
                    && let Some(Value::Text(status)) = row.get(Column::Status)
                {
                    let status = format!("{status} ({up}/{all})");
                    row.set(Column::Status, status);
                }
            }
        }
        Some(proxy)
    }

    fn has(&self, row: &Row) -> bool {
        if self.proxy.is_some_and(|id| number(row, Column::Iid) != id) {
            return false;
        }
        let name = text(row, Column::Pxname);
        if !self.names.is_empty() && !self.names.iter().any(|wanted| **wanted == *name) {
            return false;
        }
        if let Some(part) = &self.part
            && !name.to_lowercase().contains(&part.to_lowercase())
        {
            return false;
        }
        match row.kind {
            Kind::Frontend | Kind::Backend => true,
            Kind::Listener => self.object.is_none_or(|id| number(row, Column::Sid) == id),
            Kind::Server => {
                self.kinds.has(Kinds::SERVER)
                    && self.object.is_none_or(|id| number(row, Column::Sid) == id)
                    && !(self.hide_maint && is_maint(row))
                    && !(self.hide_down && (is_maint(row) || is_down(row)))
            }
        }
    }
}

/// A number of a row, 0 where it has none.
pub(crate) fn number(row: &Row, column: Column) -> u64 {
    match row.get(column) {
        Some(Value::Unsigned(number)) => *number,
        _ => 0,
    }
}

/// A text of a row, empty where it has none.
pub(crate) fn text(row: &Row, column: Column) -> &str {
    match row.get(column) {
        Some(Value::Text(text)) => text,
        _ => "",
    }
}

/// Down and not on its way up (`DOWN 1/2` is).
fn is_down(row: &Row) -> bool {
    let status = text(row, Column::Status);
    status == "DOWN" || status.starts_with("DOWN (")
}

pub(crate) fn is_maint(row: &Row) -> bool {
    text(row, Column::Status).starts_with("MAINT")
}
