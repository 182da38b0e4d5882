//! Asking a server's agent how it is: one connection, a line if one is configured, one line back.

use super::script::Run;
use super::{Finding, packet};
use crate::model::{
    AgentCheck, CheckConnect, CheckExpect, CheckProtocol, CheckStep, CheckText, Expected, Packet,
    ProxyId, Script, Server, ServerCheck, ServerId,
};
use crate::snapshot::Snapshot;

/// What came of a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The line and its end, as received; what stands behind is not looked at.
    Line(Vec<u8>),
    /// There was none. [`CheckStatus::Checked`](super::CheckStatus::Checked) where the agent broke off within its line.
    Failed(Finding),
}

/// Asks once. Ends by itself, as a check does.
pub(super) async fn ask(
    snapshot: &Snapshot,
    ids: (ProxyId, ServerId),
    server: &Server,
    agent: &AgentCheck,
) -> Answer {
    let (address, port, send) = {
        let set = server.state.probing();
        let send = set.agent_send.as_ref().unwrap_or(&agent.send).clone();
        (set.agent_address.or(agent.address), set.agent_port.unwrap_or(agent.port), send)
    };
    let rhythm = ServerCheck {
        via_socks4: false,
        inter: agent.inter,
        fastinter: None,
        downinter: None,
        rise: 1,
        fall: 1,
        address,
        port: Some(port),
        send_proxy: None,
    };
    let script = Script {
        protocol: CheckProtocol::Preset,
        steps: vec![
            CheckStep::Connect(CheckConnect { implicit: true, ..CheckConnect::default() }),
            CheckStep::Send { data: CheckText::Fixed(send), comment: None },
            CheckStep::Expect(Box::new(CheckExpect::of(Expected::Packet(Packet::AgentLine)))),
        ],
        disable_on_404: false,
        send_state: false,
    };
    let mut run = Run::new(snapshot, ids, (server, &rhythm), &script);
    match run.steps().await {
        Ok(_) => Answer::Line(run.received().to_vec()),
        Err(finding) => Answer::Failed(finding),
    }
}

/// Whether the line is whole.
pub(super) fn line(bytes: &[u8]) -> Option<packet::Answered> {
    let whole = bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
    whole.then(|| packet::Answered::Well(String::new()))
}
