//! Agents: what they say and what becomes of their servers, as Debian's HAProxy 2.6.12 logged it of the same words.

use telamon_testkit::{Behaviour, Signal, SyslogSink, Telamon, TestServer, eventually, free_port};

/// A server whose agent says what it is told to, and one that tracks it.
struct Scene {
    agent: TestServer,
    _app: TestServer,
    log: SyslogSink,
    telamon: Telamon,
    seen: usize,
}

impl Scene {
    #[track_caller]
    fn new(lines: &str, settings: &str) -> Self {
        let (app, log) = (TestServer::named("app"), SyslogSink::start());
        let agent = TestServer::start("agent", says("up"));
        let telamon = Telamon::listen(&format!(
            "default_backend b\n\
             defaults\nmode http\ntimeout connect 1s\ntimeout server 5s\nlog {} local0\n{lines}\n\
             backend b\nserver s {} agent-check agent-port {} agent-inter 50ms weight 100 {settings}\n\
             backend t\nserver t1 {} track b/s\n",
            log.address(),
            app.address(),
            agent.port(),
            app.address(),
        ));
        eventually("the agent was asked", || telamon.stat("b", "s", "agent_status") == "L7OK");
        Self { agent, _app: app, log, telamon, seen: 0 }
    }

    /// Lets the agent say `words` until the server's columns are `expected`.
    #[track_caller]
    fn say(&self, words: &str, expected: &[(&str, &str)]) {
        self.agent.becomes(says(words));
        for (column, value) in expected {
            let what = format!("{column} is {value} after {words}");
            eventually(&what, || self.telamon.stat("b", "s", column) == *value);
        }
    }

    /// The lines logged since it was last asked, once one contains `last`.
    #[track_caller]
    fn logged(&mut self, last: &str) -> Vec<String> {
        let mut new = Vec::new();
        eventually(last, || {
            new = self.log.lines().split_off(self.seen);
            new.iter().any(|line| line.contains(last))
        });
        self.seen += new.len();
        let of_states = |line: &String| {
            ["Server ", "Agent ", "backend "].iter().any(|begin| line.contains(begin))
        };
        new.iter().map(|line| message(line)).filter(of_states).collect()
    }
}

fn says(words: &str) -> Behaviour {
    Behaviour::SpeaksThenHalfCloses(format!("{words}\n").into_bytes())
}

/// What stands behind the header, with `#ms` for times.
fn message(line: &str) -> String {
    let text = line.split_once("]: ").map_or(line, |(_, text)| text);
    let Some((before, rest)) = text.split_once("check duration: ") else { return text.to_owned() };
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}check duration: #{after}")
}

const LEFT: &str = "0 sessions active, 0 requeued, 0 remaining in queue.";
const ONLINE: &str = "0 sessions requeued, 0 total in queue.";

#[test]
fn an_agent_takes_its_server_down_and_up() {
    let mut scene = Scene::new("", "");
    scene.say("down # for a walk", &[("status", "DOWN (agent)"), ("agent_status", "L7STS")]);
    assert_eq!(
        scene.logged("backend t has no"),
        [
            &format!(
                "Server b/s is DOWN, reason: Layer7 wrong status, code: 0, info: \"via agent : down (for a walk)\", \
                 check duration: #ms. 0 active and 0 backup servers left. {LEFT}"
            ),
            "backend b has no server available!",
            &format!("Server t/t1 is DOWN via b/s. 0 active and 0 backup servers left. {LEFT}"),
            "backend t has no server available!",
        ]
    );
    assert_eq!(scene.telamon.connect().get("/").status, 503);
    scene.say("up", &[("status", "no check"), ("agent_status", "L7OK")]);
    assert_eq!(
        scene.logged("t/t1 is UP"),
        [
            format!(
                "Server b/s is UP, reason: Layer7 check passed, code: 0, info: \"via agent : up\", check duration: #ms. \
                 1 active and 0 backup servers online. {ONLINE}"
            ),
            format!("Server t/t1 is UP via b/s. 1 active and 0 backup servers online. {ONLINE}"),
        ]
    );
    assert_eq!(scene.telamon.connect().get("/").status, 200);
}

#[test]
fn an_agent_sets_weight_limit_and_admin_state() {
    let scene = Scene::new("", "");
    scene.say("up 75%", &[("weight", "75"), ("last_agt", "via agent : up")]);
    scene.say("maxconn:30\tup", &[("slim", "30"), ("weight", "75")]);
    scene.say("drain", &[("status", "DRAIN (agent)"), ("agent_status", "CHECKED")]);
    scene.say("maint", &[("status", "MAINT")]);
    // An agent is asked in maintenance too, and only it can take back what it did.
    scene.say("ready,100%", &[("status", "no check"), ("weight", "100"), ("slim", "30")]);
    scene.say("fail", &[("status", "DOWN (agent)"), ("agent_health", "0")]);
    scene.say("ready", &[("status", "DOWN (agent)"), ("agent_status", "CHECKED")]);
    scene.say("UP", &[("last_agt", "via agent : UP"), ("status", "no check")]);
}

#[test]
fn what_is_not_understood_costs_one_line_and_changes_nothing() {
    let mut scene = Scene::new("", "");
    scene.say("sideways 200", &[("last_agt", "agent reports an error : sideways")]);
    scene.say(
        "maxconn:many",
        &[("last_agt", "agent warns : maxconn string empty or preceded by garbage")],
    );
    scene.agent.becomes(Behaviour::SpeaksThenHalfCloses(b"dow".to_vec()));
    eventually("half a line", || {
        scene.telamon.stat("b", "s", "last_agt") == "Ignoring incomplete line from agent"
    });
    let asked = scene.agent.connections();
    eventually("it is asked again", || scene.agent.connections() > asked + 3);
    let expected: &[&str] = if Telamon::is_haproxy() {
        &[]
    } else {
        &[
            "Agent of server b/s is not understood: unknown word 'sideways'.",
            "Agent of server b/s is not understood: maxconn string empty or preceded by garbage.",
            "Agent of server b/s is not understood: it breaks off within its line.",
        ]
    };
    scene.say("drain", &[("status", "DRAIN (agent)")]);
    let logged = scene.logged("enters drain");
    let complaints: Vec<_> = logged.iter().filter(|line| line.contains("not understood")).collect();
    assert_eq!(complaints, expected);
    assert_eq!(scene.telamon.stat("b", "s", "weight"), "100");
}

#[test]
fn checks_and_agent_both_have_to_agree() {
    let mut scene = Scene::new("option log-health-checks", "check inter 50ms rise 1 fall 1");
    scene.logged("Agent check");
    scene.say("stopped", &[("status", "DOWN (agent)")]);
    let logged = scene.logged("s is DOWN");
    assert_eq!(
        logged[0],
        "Agent check for server b/s failed, reason: Layer7 wrong status, code: 0, info: \"via agent : stopped\", \
         check duration: #ms, status: 0/1 DOWN."
    );
    assert!(logged[1].starts_with("Server b/s is DOWN. 0 active"), "{logged:?}");
    // Its checks go on and pass, and that is not enough.
    eventually("it is checked", || scene.telamon.stat("b", "s", "check_status") == "L4OK");
    assert_eq!(scene.telamon.stat("b", "s", "status"), "DOWN (agent)");
    scene.say("up", &[("status", "UP")]);
    // An agent that cannot be reached changes nothing.
    scene.agent.kill();
    eventually("it is missed", || scene.telamon.stat("b", "s", "agent_status") == "L4CON");
    assert_eq!(scene.telamon.stat("b", "s", "status"), "UP");
}

#[test]
fn the_socket_overrides_the_agent() {
    let scene = Scene::new("", "");
    let ask = |command: &str| scene.telamon.stats_socket(command).trim_end().to_owned();
    let status = || scene.telamon.stat("b", "s", "status");
    assert_eq!(ask("disable agent b/s"), "");
    scene.agent.becomes(says("down"));
    assert_eq!(ask("set server b/s agent down"), "agent checks are not enabled on this server.");
    assert_eq!(scene.telamon.stat("b", "s", "agent_status"), "");
    assert_eq!(status(), "no check");
    assert_eq!(ask("enable agent b/s"), "");
    eventually("it is heard again", || status() == "DOWN (agent)");
    assert_eq!(ask("enable agent t/t1"), "Agent was not configured on this server, cannot enable.");
    assert_eq!(ask("set server b/s agent x"), "'set server <srv> agent' expects 'up' or 'down'.");
    assert_eq!(ask("set server b/s agent-port 70000"), "provided port is invalid");
    assert_eq!(ask("set server b/s agent-addr here"), "invalid addr 'here'");
    // Elsewhere another agent knows better, and wants to be greeted.
    let other = TestServer::start("other", says("up"));
    let port = other.port();
    assert_eq!(ask("set server b/s agent-send hello"), "");
    assert_eq!(ask(&format!("set server b/s agent-addr 127.0.0.1 port {port}")), "");
    eventually("it is up", || status() == "no check");
    let state = scene.telamon.stats_socket("show servers state b");
    assert!(state.contains(&format!(" 127.0.0.1 {port}\n")), "{state}");
}

#[test]
fn a_reload_keeps_what_the_agent_said_and_forgets_an_agent_that_is_gone() {
    let agent = TestServer::start("agent", says("down"));
    let (port, nobody) = (free_port(), free_port());
    let config =
        |agent: &str| Telamon::listen_on(port, &format!("server s 127.0.0.1:{nobody} {agent}"));
    if Telamon::is_haproxy() {
        return;
    }
    let check = format!("agent-check agent-port {} agent-inter 50ms", agent.port());
    let telamon = Telamon::start(&config(&check));
    let status = || telamon.stat("web", "s", "status");
    eventually("it is down", || status() == "DOWN (agent)");
    agent.kill();
    telamon.write_config(&config(&format!("{check} weight 7")));
    telamon.signal(Signal::USR2);
    eventually("the weight is new", || telamon.stat("web", "s", "weight") == "7");
    assert_eq!(status(), "DOWN (agent)");
    telamon.write_config(&config(""));
    telamon.signal(Signal::USR2);
    eventually("nothing keeps it down", || status() == "no check");
}
