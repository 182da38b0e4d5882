//! Backends and servers made by hand, and an ear for their logs: for tests.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use telamon_balance::{Member, MemberConfig, Pool, PoolOptions};
use telamon_config::Location;

use crate::log::{Destination, Facility, HeaderFormat, LogTarget};
use crate::model::{
    Backend, Balance, Captures, CheckMethod, ErrorReplies, HttpReuse, LogSettings, Mode, Options,
    Proxy, Rules, Server, ServerAddress, ServerPort, Timeouts,
};
use crate::state::{Address, ProxyState, ServerState};
use crate::worker::Shared;

/// What workers share, where there is one.
pub(crate) fn shared() -> Arc<Shared> {
    Arc::new(Shared::new(1, 100, telamon_runtime::service::channel().0))
}

/// A socket that lines are logged to.
pub(crate) struct LogEar(UdpSocket);

impl LogEar {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_nonblocking(true).expect("a socket");
        Self(socket)
    }

    /// The next line, if it has come: `<129>Server …`.
    pub(crate) fn line(&self) -> Option<String> {
        let mut buffer = [0; 2000];
        let count = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..count]).trim_end().to_owned())
    }
}

/// A backend with these servers that logs to `ear`.
pub(crate) fn backend(name: &str, mut servers: Vec<Server>, ear: &LogEar) -> Proxy {
    for (server, index) in servers.iter_mut().zip(0..) {
        (server.index, server.number) = (index, index + 1);
        server.state.member.configure(&server.member_config);
    }
    let members = servers.iter().map(|server| Arc::clone(&server.state.member)).collect();
    let backend = Backend {
        pool: Pool::new(members, || Balance::default().make(), PoolOptions::default()),
        servers,
        balance: Balance::default(),
        use_server: Vec::new(),
        cookie: None,
        stick_request: Vec::new(),
        stick_response: Vec::new(),
        cookie_index: Default::default(),
        persist_rules: Vec::new(),
        fullconn: None,
        retries: 3,
        retry_on: crate::model::RetryOn::default(),
        retry_budget: None,
        outlier_ejection: None,
        redispatch: 0,
        reuse: HttpReuse::Safe,
        direct: None,
        check: CheckMethod::Connect,
        send_name_header: None,
        max_keep_alive_queue: None,
    };
    let to = Destination::Udp(ear.0.local_addr().expect("an address"));
    let mut target = LogTarget::new(to, Facility::from_name("local0").expect("a facility"));
    target.format = Some(HeaderFormat::Priority);
    Proxy {
        name: name.into(),
        number: 2,
        has_own_number: false,
        section: "backend",
        at: Location::COMMAND_LINE,
        mode: Mode::Http,
        disabled: false,
        description: None,
        options: Options::default(),
        timeouts: Timeouts::default(),
        rules: Rules::default(),
        errors: ErrorReplies::default(),
        log: LogSettings { targets: vec![Arc::new(target)], ..LogSettings::default() },
        captures: Captures::default(),
        unique_id_format: None,
        unique_id_header: None,
        stats: None,
        frontend: None,
        backend: Some(backend),
        state: ProxyState::new(1),
    }
}

/// A server without checks; [`backend`] numbers it.
pub(crate) fn server(name: &str, address: SocketAddr) -> Server {
    let member = Member::new(name, &MemberConfig::default(), 1);
    let port = ServerPort::Fixed(address.port());
    let now = Address { endpoint: address.into(), mapped_port: None };
    Server {
        name: name.into(),
        index: 0,
        number: 1,
        has_own_number: false,
        at: Location::COMMAND_LINE,
        address: ServerAddress::Ip { address: address.ip(), port, host: None },
        resolution: None,
        check: None,
        tls: None,
        check_tls: None,
        protocol: None,
        websocket: None,
        agent: None,
        rise: 2,
        slow_start_s: 0,
        disabled: false,
        unresolved: false,
        member_config: MemberConfig::default(),
        connect: Default::default(),
        pool_max_conn: None,
        pool_low_conn: 0,
        pool_purge_delay: Duration::from_secs(5),
        max_reuse: None,
        send_proxy: None,
        learning: None,
        shuts_down: false,
        takes_back: false,
        redir: None,
        saved: None,
        tracks: None,
        trackers: Vec::new(),
        non_stick: false,
        written_cookie: None,
        state: ServerState::new(member, now, 1),
    }
}
