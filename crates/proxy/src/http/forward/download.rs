//! The answer on its way to the client.

use std::task::Poll;

use telamon_http_proto::{BodyLength, Version};

use super::Attempt;
use super::failed::Tried;
use super::head::{Ends, Upload};
use crate::http::{After, prepare, websocket};
use crate::model::Proxy;
use crate::relay::{Broken, Pump, Remaining, Splicing};
use crate::side::Side;
use crate::stream::{Phase, Stream};
use crate::{account, rules, tunnel};

/// An answer that has begun to be sent.
pub(super) struct Answer {
    /// Its head and what had come of its body, and how much of it the client's socket took at once.
    pub(super) out: Vec<u8>,
    pub(super) sent: usize,
    remaining: Remaining,
    pub(super) keep_client: bool,
    /// The client's connection ends with it.
    closes: bool,
    /// The client has asked for the head alone.
    discards: bool,
    /// The server has sent more than its answer.
    pub(super) surplus: bool,
}

impl Answer {
    /// Makes the head fit for the client, and sends what is there. `last` where nothing of the request is left to come.
    ///
    /// # Errors
    /// Where in the answer it turned out that it cannot be sent.
    pub(super) fn begin(
        stream: &mut Stream,
        length: BodyLength,
        last: bool,
        client: &Side,
    ) -> Result<Self, Phase> {
        let version = stream.request.version();
        let ends_by_itself = match length {
            BodyLength::UntilClose => false,
            BodyLength::Chunked => version != Version::Http10,
            _ => true,
        };
        let keep_client = stream.request.keeps_alive()
            && ends_by_itself
            && prepare::keeps_client(stream)
            && !stream.session.worker.finishing.get();
        let stripped = stream.response.strip_hop_by_hop();
        rules::run_after_response_sets(stream);
        let dechunk = length == BodyLength::Chunked && version == Version::Http10;
        if dechunk {
            stream.response.remove_chunked();
        }
        stripped
            .and_then(|()| stream.response.set_connection(keep_client, version))
            .and_then(|()| stream.response.restore_framing())
            .map_err(|_| Phase::Headers)?;
        stream.log.status = stream.response.status();
        account::response(stream);

        let mut out = stream.session.worker.lend_buffer();
        // Rules may have replaced the method that the server has answered to.
        let discards =
            stream.wants_head && !matches!(length, BodyLength::None | BodyLength::Tunnel);
        match client.stream() {
            None => {
                websocket::add_accept(&stream.request, &mut stream.response)
                    .and_then(|()| stream.response.say_no_content())
                    .map_err(|_| Phase::Headers)?;
                stream.response.write_to(&mut out);
            }
            Some(side) => {
                stream.log.bytes_out += stream.response.len() as u64;
                let length = if stream.wants_head { BodyLength::None } else { length };
                side.send_answer(&stream.response, length).map_err(|_| Phase::Data)?;
            }
        }
        let head_len = out.len();
        crate::log::log_early(stream, stream.response.len() as u64);
        let mut remaining = match Remaining::new(length) {
            Remaining::Chunked(decoder) if dechunk => Remaining::Dechunked(decoder),
            remaining => remaining,
        };
        out.extend_from_slice(stream.response.remaining());
        let end = remaining.advance(&mut out, head_len).map_err(|_| Phase::Data)?;
        let surplus = out.len() > end;
        out.truncate(if discards { head_len } else { end });
        let closes = !keep_client && length != BodyLength::Tunnel && last;
        let wrote = if closes && remaining.is_done() {
            client.try_write_more(&out)
        } else {
            client.try_write(&out)
        };
        // What is wrong with the socket shows again when the rest is sent.
        let sent = wrote.unwrap_or(0);
        Ok(Self { out, sent, remaining, keep_client, closes, discards, surplus })
    }

    /// Whether all of it has gone at once.
    pub(super) fn is_through(&self) -> bool {
        self.sent == self.out.len() && self.remaining.is_done()
    }

    fn into_pump<'a>(
        self,
        stream: &Stream,
        ends: &Ends<'a>,
        (frontend, backend): (&Proxy, &Proxy),
    ) -> Pump<'a> {
        let mut pump = Pump::begun(ends.server, ends.client, self.out, self.sent, self.remaining);
        let splicing =
            Splicing::of(&frontend.options, &backend.options, |options| options.splice_response);
        pump.splice_with(stream.session.worker.pipes(), splicing);
        if self.closes {
            pump.set_closes();
        }
        if self.discards {
            pump.set_discards();
        }
        pump
    }
}

/// Sends the rest of an answer, and of its request meanwhile; returns whether the server has sent more than that.
pub(super) async fn relay(
    stream: &mut Stream,
    upload: &mut Upload<'_>,
    ends: &Ends<'_>,
    answer: Answer,
    proxies: (&Proxy, &Proxy),
) -> Result<bool, Broken> {
    let mut download = answer.into_pump(stream, ends, proxies);
    let before = stream.log.bytes_out;
    let downloaded = std::future::poll_fn(|cx| {
        // Its end is looked at when the answer is through.
        let _ = upload.poll(cx);
        let mut downloaded = download.poll(cx);
        if downloaded.is_pending()
            && let Some(side) = ends.client.side.stream()
            && side.poll_reset(cx).is_ready()
        {
            downloaded = Poll::Ready(Err(Broken::Sink));
        }
        stream.log.bytes_out = before + download.written;
        account::flow(stream, upload.received(), before + download.written);
        downloaded
    })
    .await;
    stream.log.spliced_out += download.spliced;
    downloaded?;
    let rest = download.into_rest();
    let surplus = !rest.is_empty();
    stream.session.worker.return_buffer(rest);
    Ok(surplus)
}

/// Relays whatever comes on either side, until both have ended.
pub(super) async fn tunnel(
    stream: &mut Stream,
    upload: Upload<'_>,
    ends: &Ends<'_>,
    answer: Answer,
    (frontend, Tried { proxy, server, .. }): (&Proxy, Tried<'_>),
) -> Attempt {
    let mut down = answer.into_pump(stream, ends, (frontend, proxy));
    let mut up = upload.into_tunnel(stream, ends);
    let timeouts = tunnel::Timeouts::of(frontend, proxy, stream.tunnel_timeout);
    let before = (stream.log.bytes_in, stream.log.bytes_out);
    let count = |up, down| account::flow(stream, before.0 + up, before.1 + down);
    let ended = tunnel::run(&mut up, &mut down, &timeouts, count).await;
    stream.log.bytes_in += up.written;
    stream.log.spliced_in += up.spliced;
    stream.log.bytes_out += down.written;
    stream.log.spliced_out += down.spliced;
    ended.note(stream);
    account::stream_broken(stream, proxy, server);
    Attempt::Done(After::Drop)
}
