//! `telamon demo`: four small application servers, a balancer before them, and the status page, in one process.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use telamon_http_proto::{Head, Limits, ResponseBuilder};
use telamon_runtime::files::{Direct, Files, PathKind};
use telamon_runtime::workers::block_on;
use telamon_runtime::{BindSpec, Neighbor, Socket, SocketKind};

/// What the demo runs on: its configuration, and where everything is.
#[derive(Debug)]
pub(crate) struct Demo {
    pub(crate) configuration: String,
    pub(crate) balancer: SocketAddr,
    pub(crate) page: SocketAddr,
    servers: Vec<(String, TcpListener)>,
}

/// The file name that the demo's configuration goes by.
pub(crate) const FILE: &str = "demo.cfg";

impl Demo {
    /// Finds free ports (8080-8083, 3000 and 8404 where they are) and writes the configuration.
    pub(crate) fn prepare() -> io::Result<Self> {
        let mut servers = Vec::new();
        for number in 0..4u16 {
            let listener = listen_near(8080 + number)?;
            listener.set_nonblocking(true)?;
            servers.push((format!("app{}", number + 1), listener));
        }
        let balancer = listen_near(3000)?.local_addr()?;
        let page = listen_near(8404)?.local_addr()?;
        let mut lines = String::new();
        for (name, listener) in &servers {
            lines.push_str(&format!(
                "    server {name} {} check inter 1s\n",
                listener.local_addr()?
            ));
        }
        let configuration = format!(
            "global\n    maxconn 1000\n\n\
             defaults\n    mode http\n    timeout connect 1s\n    timeout client 30s\n    timeout server 30s\n    \
             option redispatch\n\n\
             frontend shop\n    bind {balancer}\n    default_backend app\n\n\
             backend app\n    balance roundrobin\n    option httpchk GET /health\n{lines}\n\
             listen page\n    bind {page}\n    stats enable\n    stats uri /\n    stats refresh 1s\n    \
             stats admin if TRUE\n"
        );
        Ok(Self { configuration, balancer, page, servers })
    }

    /// Starts the application servers on a thread of their own, where they stay until the process ends.
    pub(crate) fn start_servers(&mut self) -> io::Result<()> {
        let servers = std::mem::take(&mut self.servers);
        let run = move || {
            block_on(async move {
                for (name, listener) in servers {
                    tokio::task::spawn_local(application(name, listener));
                }
                std::future::pending::<()>().await;
            });
        };
        std::thread::Builder::new().name("demo-apps".into()).spawn(run)?;
        Ok(())
    }

    /// What the user is told at the start.
    pub(crate) fn introduction(&self) -> String {
        let Self { configuration, balancer, page, .. } = self;
        format!(
            "This is the configuration:\n\n{configuration}\n\
             Balancer     http://{balancer}/\n\
             Status page  http://{page}/\n\n\
             Try:  curl http://{balancer}/                    ask a few times: the servers take turns\n      \
             for i in $(seq 100); do curl -s http://{balancer}/; done\n      \
             open the status page, put a server into maintenance, change a weight\n\n\
             Ctrl-C ends it.\n"
        )
    }
}

/// The demo's configuration as a file, everything else as it is.
#[derive(Debug)]
pub(crate) struct DemoFiles {
    direct: Direct,
    text: Vec<u8>,
}

impl DemoFiles {
    pub(crate) fn new(configuration: &str) -> Self {
        Self { direct: Direct::new(Neighbor::Refused), text: configuration.as_bytes().to_vec() }
    }
}

impl Files for DemoFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new(FILE) { Ok(self.text.clone()) } else { self.direct.read(path) }
    }

    fn kind(&self, path: &Path) -> io::Result<PathKind> {
        if path == Path::new(FILE) { Ok(PathKind::File) } else { self.direct.kind(path) }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        self.direct.list(directory)
    }

    fn resolve(&self, host: &str) -> io::Result<Vec<std::net::IpAddr>> {
        self.direct.resolve(host)
    }

    fn user(&self, name: &str) -> io::Result<telamon_runtime::files::UserIds> {
        self.direct.user(name)
    }

    fn group(&self, name: &str) -> io::Result<u32> {
        self.direct.group(name)
    }

    fn bind(&self, spec: &BindSpec, workers: usize) -> io::Result<Vec<std::os::fd::OwnedFd>> {
        self.direct.bind(spec, workers)
    }
}

/// The port if it is free, else the next one that is.
fn listen_near(port: u16) -> io::Result<TcpListener> {
    let mut last = None;
    for port in port..port.saturating_add(PORTS_TRIED) {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

/// An application that answers every request with its name.
async fn application(name: String, listener: TcpListener) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let body = format!("{name}\n");
        tokio::task::spawn_local(async move {
            // A client that breaks off ends its connection; that is all there is to do.
            let _ = answer(stream, body.as_bytes()).await;
        });
    }
}

async fn answer(stream: tokio::net::TcpStream, body: &[u8]) -> io::Result<()> {
    let socket = Socket::from_fd(stream.into_std()?.into(), SocketKind::Tcp)?;
    let mut head = Head::with_capacity(16384);
    let mut out = Vec::new();
    loop {
        match head.parse_request(&Limits::default()) {
            Ok(Some(_)) => {
                out.clear();
                ResponseBuilder::new(200)
                    .header("content-type", b"text/plain")
                    .body(body)
                    .write_to(&mut out);
                socket.write_all(&out).await?;
                head.next();
            }
            Ok(None) => {
                let input = head.input_mut();
                let read = std::future::poll_fn(|cx| socket.poll_read_append(cx, input)).await?;
                if read == 0 {
                    return Ok(());
                }
            }
            Err(_) => return Ok(()),
        }
    }
}

const PORTS_TRIED: u16 = 200;
