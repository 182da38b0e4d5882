//! The status page with a made-up plane behind it, for work on its looks:
//! `cargo run -p telamon-console --example preview`, then open http://127.0.0.1:8405/.
//!
//! Traffic goes up and down, one server is down, one in maintenance; actions work. An argument is another address.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use telamon_balance::stats::{
    ActError, Action, Column, Field, Info, Kind, Kinds, Proxy, Row, Source,
};
use telamon_console::Console;
use telamon_console::page::{Pages, Settings};
use telamon_runtime::service::{PageRequest, Service as _};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8405".to_owned());
    let listener = TcpListener::bind(&address)?;
    println!("http://{address}/");
    let plane = Arc::new(Plane::default());
    let console = Arc::new(Console::new(vec![Arc::clone(&plane) as Arc<dyn Source>]));
    let tick = {
        let console = Arc::clone(&console);
        move || console.sample(plane.second.fetch_add(1, Ordering::Relaxed) * 1000)
    };
    (0..520).for_each(|_| tick());
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            tick();
        }
    });
    let pages = Pages::new(console);
    let settings = Settings {
        uri: "/".to_owned(),
        show_legends: true,
        node: Some("edge-1".to_owned()),
        ..Settings::default()
    };
    pages.set(HashMap::from([("stats".to_owned(), settings)]));
    for stream in listener.incoming() {
        if let Err(error) = answer(&pages, stream?) {
            eprintln!("{error}");
        }
    }
    Ok(())
}

/// One request for each connection; enough for a browser.
fn answer(pages: &Pages, stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(path, query)| (path, Some(query.to_owned())));
    let path = path.to_owned();
    let mut headers = Vec::new();
    let mut body_len = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        if name.eq_ignore_ascii_case("content-length") {
            body_len = value.parse().unwrap_or(0);
        }
        headers.push((name.to_lowercase(), value.as_bytes().to_vec()));
    }
    let mut body = Vec::new();
    reader.take(body_len).read_to_end(&mut body)?;
    let request = PageRequest {
        proxy: "stats".to_owned(),
        method,
        path,
        query,
        headers,
        body,
        client: None,
        admin: true,
    };
    let page = pages.answer(&request);
    let mut head = format!(
        "HTTP/1.1 {} -\r\ncontent-length: {}\r\nconnection: close\r\n",
        page.status,
        page.body.len()
    );
    for (name, value) in &page.headers {
        head += &format!("{name}: {value}\r\n");
    }
    (&stream).write_all(format!("{head}\r\n").as_bytes())?;
    (&stream).write_all(&page.body)
}

/// Numbers that follow from the second alone, so that they can be foretold for the curves.
#[derive(Default)]
struct Plane {
    second: AtomicU64,
    /// Servers taken out from the page.
    out: Mutex<HashSet<String>>,
}

/// Backend, algorithm, servers, requests a second, milliseconds of a response, errors in 1000 requests.
type Pool = (&'static str, &'static str, &'static [&'static str], f64, f64, f64);

const POOLS: &[Pool] = &[
    ("app", "roundrobin", &["app-01", "app-02", "app-03", "app-04"], 840.0, 23.0, 1.4),
    ("api", "leastconn", &["api-01", "api-02", "api-03"], 310.0, 48.0, 4.0),
    ("static", "source", &["cdn-01", "cdn-02"], 1250.0, 2.0, 0.0),
    ("reports", "first", &["rep-01", "rep-02"], 12.0, 700.0, 12.0),
];

impl Plane {
    /// Requests since the start at a rate that comes in waves.
    fn count(&self, rate: f64, phase: f64) -> u64 {
        let second = self.second.load(Ordering::Relaxed) as f64;
        (rate
            * (second
                + 30.0 * (second / 60.0 + phase).sin()
                + 1.2 * (second / 3.7 + phase).sin()
                + 40.0)) as u64
    }

    fn rate(&self, rate: f64, phase: f64) -> u64 {
        let second = self.second.load(Ordering::Relaxed) as f64;
        (rate
            * (1.0 + 0.5 * (second / 60.0 + phase).cos() + 0.3 * (second / 3.7 + phase).cos())
                .max(0.0)) as u64
    }

    fn numbers(&self, row: &mut Row, rate: f64, phase: f64, errors: f64) {
        let count = self.count(rate, phase);
        let now = self.rate(rate, phase);
        row.set(Column::Scur, now / 25)
            .set(Column::Smax, (rate / 8.0) as u64)
            .set(Column::Stot, count);
        row.set(Column::Bin, count * 480).set(Column::Bout, count * 14_200).set(Column::Rate, now);
        row.set(Column::RateMax, (rate * 2.1) as u64).set(Column::ReqTot, count);
        let failed = (count as f64 * errors / 1000.0) as u64;
        row.set(Column::Hrsp2xx, count - failed)
            .set(Column::Hrsp4xx, count / 90)
            .set(Column::Hrsp5xx, failed);
        row.set(Column::Dreq, 0_u64).set(Column::Dresp, 0_u64).set(Column::Mode, "http");
    }

    fn backend(&self, at: usize) -> Proxy {
        let (name, algorithm, servers, rate, latency, errors) = POOLS[at];
        let out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let second = self.second.load(Ordering::Relaxed);
        let named = |kind, server: &str| {
            let mut row = Row::new(kind);
            row.set(Column::Pxname, name)
                .set(Column::Svname, server.to_owned())
                .set(Column::Iid, at as u64 + 4);
            row
        };
        let mut rows = Vec::new();
        let mut up = 0_u64;
        for (index, server) in servers.iter().enumerate() {
            let mut row = named(Kind::Server, server);
            let key = format!("{name}/{server}");
            let status = match key.as_str() {
                key if out.contains(key) => "MAINT",
                "app/app-03" | "reports/rep-01" | "reports/rep-02" => "DOWN",
                "api/api-02" if second % 60 < 40 => "UP 2/3",
                _ => "UP",
            };
            let is_up = status.starts_with("UP");
            up += u64::from(is_up);
            let share = if is_up { rate / servers.len() as f64 } else { 0.0 };
            self.numbers(&mut row, share, index as f64 / 3.0, errors);
            row.set(Column::Status, status).set(Column::Sid, index as u64 + 1);
            row.set(Column::Qcur, 0_u64).set(Column::Qmax, 3_u64).set(Column::Slim, 400_u64);
            row.set(Column::Econ, if is_up { 2_u64 } else { 310 }).set(Column::Eresp, 0_u64);
            row.set(Column::Wretr, 4_u64)
                .set(Column::Wredis, 1_u64)
                .set(Column::Weight, 10_u64)
                .set(Column::Uweight, 10_u64);
            row.set(Column::Act, 1_u64)
                .set(Column::Bck, 0_u64)
                .set(Column::Lastchg, if is_up { 86_400 + second } else { 192 + second });
            row.set(Column::Chkfail, if is_up { 0_u64 } else { 3 })
                .set(Column::Chkdown, u64::from(!is_up));
            row.set(Column::Downtime, if is_up { 0 } else { 192 + second });
            if status != "MAINT" {
                row.set(Column::CheckStatus, if is_up { "L7OK" } else { "L4CON" })
                    .set(Column::CheckDuration, 2_u64);
                row.set(
                    Column::CheckDesc,
                    if is_up { "Layer7 check passed" } else { "Layer4 connection problem" },
                );
                row.set(Column::CheckRise, 2_u64)
                    .set(Column::CheckFall, 3_u64)
                    .set(Column::CheckHealth, if is_up { 4_u64 } else { 0 });
                if is_up {
                    row.set(Column::CheckCode, 200_u64);
                } else {
                    row.set(Column::LastChk, "Connection refused");
                }
            }
            row.set(Column::Rtime, latency as u64)
                .set(Column::Ttime, latency as u64 + 3)
                .set(Column::TtimeMax, latency as u64 * 9);
            row.set(Column::Addr, format!("10.0.{at}.{}:8080", index + 11));
            rows.push(row);
        }
        let mut row = named(Kind::Backend, "BACKEND");
        self.numbers(&mut row, if up > 0 { rate } else { 0.0 }, 0.0, errors);
        let wave = 1.0 + 0.3 * (second as f64 / 45.0 + at as f64).sin();
        row.set(Column::Status, if up > 0 { "UP" } else { "DOWN" }).set(Column::Algo, algorithm);
        row.set(Column::Qcur, u64::from(name == "api" && second % 60 < 30) * 7)
            .set(Column::Qmax, 31_u64)
            .set(Column::Slim, 200_u64);
        row.set(Column::Econ, 12_u64)
            .set(Column::Eresp, 3_u64)
            .set(Column::Wretr, 9_u64)
            .set(Column::Wredis, 2_u64);
        row.set(Column::Weight, up * 10)
            .set(Column::Act, up)
            .set(Column::Bck, 0_u64)
            .set(Column::Lastchg, 86_400 + second);
        row.set(Column::Chkdown, u64::from(up == 0)).set(Column::Downtime, 0_u64);
        row.set(Column::Rtime, (latency * wave) as u64)
            .set(Column::Ttime, (latency * wave) as u64 + 3);
        rows.push(row);
        let description = (name == "app").then(|| "the shop, four nodes in two racks".to_owned());
        Proxy { description, rows }
    }

    fn frontend(&self, at: usize) -> Proxy {
        let (name, mode, rate, limit) =
            [("www", "http", 2412.0, 2000_u64), ("ldap", "tcp", 18.0, 100)][at];
        let mut row = Row::new(Kind::Frontend);
        row.set(Column::Pxname, name)
            .set(Column::Svname, "FRONTEND")
            .set(Column::Iid, at as u64 + 2);
        self.numbers(&mut row, rate, 0.0, 1.6);
        row.set(Column::Mode, mode)
            .set(Column::Status, "OPEN")
            .set(Column::Slim, limit)
            .set(Column::Ereq, 17_u64);
        row.set(Column::ReqRate, self.rate(rate, 0.0)).set(Column::ReqRateMax, (rate * 2.1) as u64);
        if name == "ldap" {
            row.set(Column::Scur, 94_u64);
        }
        Proxy { description: None, rows: vec![row] }
    }
}

impl Source for Plane {
    fn proxies(&self) -> usize {
        POOLS.len() + 2
    }

    fn proxy(&self, at: usize, kinds: Kinds) -> Option<Proxy> {
        let mut proxy = match at {
            0 | 1 => self.frontend(at),
            at if at < self.proxies() => self.backend(at - 2),
            _ => return None,
        };
        proxy.rows.retain(|row| {
            kinds.has(if row.kind == Kind::Server { Kinds::SERVER } else { Kinds(3) })
        });
        Some(proxy)
    }

    fn info(&self, info: &mut Info) {
        info.set(Field::Name, "HAProxy")
            .set(Field::Version, env!("CARGO_PKG_VERSION"))
            .set(Field::Pid, std::process::id());
        info.set(Field::Uptime, "1d 3h24m07s")
            .set(Field::Nbthread, 4_u32)
            .set(Field::Maxconn, 2094_u32);
        info.set(Field::CurrConns, self.rate(96.0, 0.0))
            .set(Field::BytesOutRate, self.rate(34_200_000.0, 0.0));
    }

    fn act(&self, backend: &str, server: &str, action: &Action) -> Result<(), ActError> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        match action {
            Action::Maintenance => out.insert(format!("{backend}/{server}")),
            Action::Ready => out.remove(&format!("{backend}/{server}")),
            _ => return Err(ActError::NotPossible),
        };
        Ok(())
    }
}
