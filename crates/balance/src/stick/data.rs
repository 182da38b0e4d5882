//! What a table stores of each key: the types of data, their places in an entry, and reading and changing them.

use super::key::KeyType;
use super::rate::Rate;

/// The types of data, in the order in which they are shown. Source: HAProxy configuration manual, `stick-table store`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataType {
    ServerId,
    Gpt0,
    Gpc0,
    Gpc0Rate,
    ConnCnt,
    ConnRate,
    ConnCur,
    SessCnt,
    SessRate,
    HttpReqCnt,
    HttpReqRate,
    HttpErrCnt,
    HttpErrRate,
    BytesInCnt,
    BytesInRate,
    BytesOutCnt,
    BytesOutRate,
    Gpc1,
    Gpc1Rate,
    ServerKey,
    HttpFailCnt,
    HttpFailRate,
    Gpt,
    Gpc,
    GpcRate,
}

/// How a value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Signed,
    Count,
    Long,
    Rate,
    Server,
}

/// A type of data that a table stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub data: DataType,
    /// Elements, 1 unless it is an array; at most [`Stored::COUNT_MAX`].
    pub count: u32,
    /// The period of a rate, 0 for what is none.
    pub period_ms: u32,
}

/// One value: a type of data, and which element where it is an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    pub data: DataType,
    pub index: u32,
}

impl DataType {
    pub const ALL: [Self; TYPES] = [
        Self::ServerId,
        Self::Gpt0,
        Self::Gpc0,
        Self::Gpc0Rate,
        Self::ConnCnt,
        Self::ConnRate,
        Self::ConnCur,
        Self::SessCnt,
        Self::SessRate,
        Self::HttpReqCnt,
        Self::HttpReqRate,
        Self::HttpErrCnt,
        Self::HttpErrRate,
        Self::BytesInCnt,
        Self::BytesInRate,
        Self::BytesOutCnt,
        Self::BytesOutRate,
        Self::Gpc1,
        Self::Gpc1Rate,
        Self::ServerKey,
        Self::HttpFailCnt,
        Self::HttpFailRate,
        Self::Gpt,
        Self::Gpc,
        Self::GpcRate,
    ];

    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// `server_name` is an older name of `server_key`.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "server_name" => Some(Self::ServerKey),
            name => Self::ALL.into_iter().find(|data| data.name() == name),
        }
    }

    pub fn is_rate(self) -> bool {
        self.kind() == Kind::Rate
    }

    pub fn is_array(self) -> bool {
        matches!(self, Self::Gpt | Self::Gpc | Self::GpcRate)
    }

    fn kind(self) -> Kind {
        match self {
            Self::ServerId => Kind::Signed,
            Self::ServerKey => Kind::Server,
            Self::BytesInCnt | Self::BytesOutCnt => Kind::Long,
            Self::Gpc0Rate
            | Self::ConnRate
            | Self::SessRate
            | Self::HttpReqRate
            | Self::HttpErrRate
            | Self::BytesInRate
            | Self::BytesOutRate
            | Self::Gpc1Rate
            | Self::HttpFailRate
            | Self::GpcRate => Kind::Rate,
            _ => Kind::Count,
        }
    }
}

impl Stored {
    /// Elements of an array at most.
    pub const COUNT_MAX: u32 = 100;

    /// One number.
    pub fn count(data: DataType) -> Self {
        Self { data, count: 1, period_ms: 0 }
    }

    pub fn rate(data: DataType, period_ms: u32) -> Self {
        Self { data, count: 1, period_ms }
    }
}

impl From<DataType> for Cell {
    fn from(data: DataType) -> Self {
        Self { data, index: 0 }
    }
}

/// Where in an entry everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// By type; `None` for what is not stored.
    places: [Option<Place>; TYPES],
    pub(super) key: usize,
    /// Bytes of an entry's key and data.
    pub(super) width: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// In the data, from their beginning.
    at: usize,
    count: u32,
    period_ms: u32,
}

impl Layout {
    pub(super) fn new(key: KeyType, store: &[Stored]) -> Self {
        let mut places = [None; TYPES];
        let mut at = 0;
        for data in DataType::ALL {
            let Some(stored) = store.iter().find(|stored| stored.data == data) else { continue };
            let count = stored.count.clamp(1, Stored::COUNT_MAX);
            let period_ms = if data.is_rate() { stored.period_ms.max(1) } else { 0 };
            places[data as usize] = Some(Place { at, count, period_ms });
            at += data.kind().width() * count as usize;
        }
        let key = key.width();
        Self { places, key, width: key + at }
    }

    pub(super) fn stored(&self) -> impl Iterator<Item = Stored> + '_ {
        DataType::ALL.into_iter().filter_map(|data| {
            let place = self.places[data as usize]?;
            Some(Stored { data, count: place.count, period_ms: place.period_ms })
        })
    }

    pub(super) fn find(&self, cell: Cell) -> Option<Place> {
        self.places[cell.data as usize].filter(|place| cell.index < place.count)
    }
}

impl Kind {
    fn width(self) -> usize {
        match self {
            Self::Signed | Self::Count | Self::Server => 4,
            Self::Long => 8,
            Self::Rate => Rate::WIDTH,
        }
    }
}

/// An entry, for as long as its shard is locked.
#[derive(Debug)]
pub struct Entry<'e> {
    pub(super) layout: &'e Layout,
    pub(super) data: &'e mut [u8],
    pub(super) now_ms: u32,
    pub(super) refs: u32,
    pub(super) remaining_ms: u32,
    pub(super) touched: bool,
}

impl Entry<'_> {
    /// A value, of a rate the events per period as of now; `None` when it is not stored.
    pub fn get(&self, cell: impl Into<Cell>) -> Option<i64> {
        let cell = cell.into();
        let place = self.layout.find(cell)?;
        let bytes = &self.data[place.offset(cell)..];
        Some(match cell.data.kind() {
            Kind::Signed => get_u32(bytes, 0).cast_signed().into(),
            Kind::Count | Kind::Server => get_u32(bytes, 0).into(),
            Kind::Long => get_u64(bytes, 0) as i64,
            Kind::Rate => Rate::load(bytes).read(place.period_ms, self.now_ms).into(),
        })
    }

    /// Adds to a number, or counts events of a rate; returns the number, of a rate the events of the running period.
    /// `None` when it is not stored.
    pub fn add(&mut self, cell: impl Into<Cell>, amount: u64) -> Option<i64> {
        let cell = cell.into();
        let place = self.layout.find(cell)?;
        let bytes = &mut self.data[place.offset(cell)..];
        self.touched = true;
        Some(match cell.data.kind() {
            Kind::Signed | Kind::Count | Kind::Server => {
                let sum = get_u32(bytes, 0).wrapping_add(amount as u32);
                put_u32(bytes, 0, sum);
                sum.into()
            }
            Kind::Long => {
                let sum = get_u64(bytes, 0).wrapping_add(amount);
                bytes[..8].copy_from_slice(&sum.to_ne_bytes());
                sum as i64
            }
            Kind::Rate => {
                let mut rate = Rate::load(bytes);
                let running = rate.add(amount as u32, place.period_ms, self.now_ms);
                rate.store(bytes);
                running.into()
            }
        })
    }

    /// Sets a value; of a rate, so many events are in a period that begins now. `false` when it is not stored.
    pub fn set(&mut self, cell: impl Into<Cell>, value: i64) -> bool {
        let cell = cell.into();
        let Some(place) = self.layout.find(cell) else { return false };
        let bytes = &mut self.data[place.offset(cell)..];
        self.touched = true;
        match cell.data.kind() {
            Kind::Signed | Kind::Count | Kind::Server => put_u32(bytes, 0, value as u32),
            Kind::Long => bytes[..8].copy_from_slice(&(value as u64).to_ne_bytes()),
            Kind::Rate => Rate::begun(value as u32, self.now_ms).store(bytes),
        }
        true
    }

    /// Takes one from a number that is above 0; `false` when it is not stored.
    pub fn take_one(&mut self, data: DataType) -> bool {
        match self.get(data) {
            Some(count) => self.set(data, (count - 1).max(0)),
            None => false,
        }
    }

    /// The events of a rate's running period, whenever it began.
    pub fn running(&self, cell: impl Into<Cell>) -> Option<i64> {
        let cell = cell.into();
        let place = self.layout.find(cell).filter(|_| cell.data.is_rate())?;
        Some(Rate::load(&self.data[place.offset(cell)..]).running().into())
    }

    /// Lets it live for another `expire`.
    pub fn touch(&mut self) {
        self.touched = true;
    }

    /// How many hold it.
    pub fn refs(&self) -> u32 {
        self.refs
    }

    /// Milliseconds that are left of its time, 0 where it lives for ever.
    pub fn remaining_ms(&self) -> u32 {
        self.remaining_ms
    }
}

impl Place {
    fn offset(&self, cell: Cell) -> usize {
        self.at + cell.data.kind().width() * cell.index as usize
    }
}

pub(super) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

const TYPES: usize = 25;

const NAMES: [&str; TYPES] = [
    "server_id",
    "gpt0",
    "gpc0",
    "gpc0_rate",
    "conn_cnt",
    "conn_rate",
    "conn_cur",
    "sess_cnt",
    "sess_rate",
    "http_req_cnt",
    "http_req_rate",
    "http_err_cnt",
    "http_err_rate",
    "bytes_in_cnt",
    "bytes_in_rate",
    "bytes_out_cnt",
    "bytes_out_rate",
    "gpc1",
    "gpc1_rate",
    "server_key",
    "http_fail_cnt",
    "http_fail_rate",
    "gpt",
    "gpc",
    "gpc_rate",
];
