//! For tests: a configuration, a worker, and a stream on it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::SystemTime;

use telamon_config::Location;
use telamon_http_proto::Limits;
use telamon_runtime::files::{PathKind, UserIds};
use telamon_runtime::{BindAddress, BindSpec, Endpoint, Files, WorkerOptions, Workers};

use crate::model::{Frontend, Listener, Mode, Model, Proxy, ProxyId};
use crate::rules::Routes;
use crate::snapshot::{Snapshot, SnapshotRef};
use crate::state::{ListenerState, ProxyState};
use crate::stream::{Session, Stream};
use crate::worker::{Shared, Worker};

/// Runs something on a worker, with a stream that has read a request and its answer.
pub(crate) fn with_stream<R: Send + 'static>(
    model: Model,
    request: &'static [u8],
    response: &'static [u8],
    run: impl FnOnce(&mut Stream) -> R + Send + 'static,
) -> R {
    let snapshot = Arc::new(Snapshot { model, generation: 0 });
    let workers =
        Workers::start(&WorkerOptions { count: 1, ..WorkerOptions::default() }, move |thread| {
            let shared = Arc::new(Shared::new(1, 1, telamon_runtime::service::channel().0));
            Worker::new(thread, shared, Arc::clone(&snapshot), 1)
        })
        .expect("a worker");
    let (send, receive) = mpsc::channel();
    let sent = workers.peers().send(0, move |worker| {
        let snapshot = worker.snapshot();
        let session = session(worker, &snapshot);
        let mut stream = Stream::begin(Rc::new(session), snapshot);
        stream.request.input_mut().extend_from_slice(request);
        stream.request.parse_request(&Limits::default()).expect("a request");
        stream.head_received();
        stream.request_input_complete = true;
        stream.response.input_mut().extend_from_slice(response);
        stream.response.parse_response(&Limits::default()).expect("a response");
        stream.response_input_complete = true;
        _ = send.send(run(&mut stream));
    });
    sent.expect("an empty mailbox");
    let result = receive.recv().expect("it ran without a panic");
    workers.stop();
    workers.join();
    result
}

/// A frontend `fe`, and nothing else.
pub(crate) fn model() -> Model {
    let frontend = Frontend {
        listeners: Vec::new(),
        maxconn: None,
        backlog: None,
        rate_limit_sessions: 0,
        use_backend: Routes::default(),
        default_backend: None,
        monitor_uri: None,
        monitor_fail: Vec::new(),
    };
    let proxy = Proxy {
        name: "fe".into(),
        number: 2,
        has_own_number: false,
        section: "frontend",
        at: Location::COMMAND_LINE,
        mode: Mode::Http,
        disabled: false,
        description: None,
        options: Default::default(),
        timeouts: Default::default(),
        rules: Default::default(),
        errors: Default::default(),
        log: Default::default(),
        captures: Default::default(),
        unique_id_format: None,
        unique_id_header: None,
        stats: None,
        frontend: Some(frontend),
        backend: None,
        state: ProxyState::new(1),
    };
    Model { proxies: vec![proxy], ..Model::default() }
}

fn session(worker: &Rc<Worker>, snapshot: &SnapshotRef) -> Session {
    let endpoint = |text: &str| RefCell::new(Endpoint::Inet(text.parse().expect("an address")));
    let address = BindAddress::Inet("127.0.0.1:80".parse().expect("an address"));
    Session {
        client: -1,
        worker: Rc::clone(worker),
        snapshot: snapshot.clone(),
        frontend: ProxyId(0),
        listener: Arc::new(Listener {
            frontend: ProxyId(0),
            proxy_name: "fe".into(),
            name: "sock-1".into(),
            number: 1,
            at: Location::COMMAND_LINE,
            bind: BindSpec::new(address),
            maxconn: 0,
            accept_proxy: false,
            tls: None,
            protocol: None,
            state: ListenerState::new(1),
        }),
        src: endpoint("10.0.0.7:1234"),
        dst: endpoint("[::ffff:10.0.0.8]:80"),
        handshake_ms: Default::default(),
        accepted: telamon_runtime::Moment::now(),
        accepted_at: SystemTime::now(),
        connection_addresses: Default::default(),
        expects_proxy: Default::default(),
        connection: None,
        proxy_header: Default::default(),
        tls: Default::default(),
        error: Default::default(),
        vars: RefCell::default(),
        id: 1,
        last_server: Default::default(),
        tracking: Default::default(),
        live: Default::default(),
        places: Default::default(),
    }
}

/// Files in memory.
pub(crate) struct Memory(pub(crate) HashMap<&'static str, &'static str>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = path.to_str().and_then(|path| self.0.get(path));
        text.map(|text| text.as_bytes().to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn kind(&self, _: &Path) -> io::Result<PathKind> {
        Ok(PathKind::File)
    }

    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn user(&self, _: &str) -> io::Result<UserIds> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn group(&self, _: &str) -> io::Result<u32> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn bind(&self, _: &BindSpec, _: usize) -> io::Result<Vec<OwnedFd>> {
        Ok(Vec::new())
    }
}
