//! The driver over real sockets, with a toy protocol.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Echo, Oracle, pair};
use packetboat_server::drive::{Link, Pace, TlsRole, drive};
use packetboat_server::shutdown::{Phase, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts the server's side; the result is how it ends.
fn start(link: Link, session: Echo, mut handler: Oracle) -> oneshot::Receiver<String> {
    let (done, ended) = oneshot::channel();
    handler.done = Some(done);
    tokio::spawn(drive(link, session, handler));
    ended
}

/// Sends `text`, closes, and reads all that comes.
async fn talk(mut client: TcpStream, text: &str) -> String {
    client.write_all(text.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, client.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn answers_pipelined_questions_in_order() {
    let shutdown = Shutdown::new();
    let (link, client) = pair(&shutdown, TlsRole::None, Pace::default()).await;
    let ended = start(link, Echo::default(), Oracle::default());
    let answer = talk(client, "one\r\nASK two\r\nthree\r\nASK nap 10\r\nQUIT\r\nnever\r\n").await;
    assert_eq!(answer, "hello\r\n> one\r\nheard two\r\n> three\r\nawake\r\nbye\r\n");
    assert_eq!(timeout(PATIENCE, ended).await.unwrap().unwrap(), "closed");
}

#[tokio::test]
async fn a_half_closed_peer_gets_its_answers() {
    let shutdown = Shutdown::new();
    let (link, client) = pair(&shutdown, TlsRole::None, Pace::default()).await;
    let ended = start(link, Echo::default(), Oracle::default());
    assert_eq!(talk(client, "one\r\nhalf a li").await, "hello\r\n> one\r\n");
    assert_eq!(timeout(PATIENCE, ended).await.unwrap().unwrap(), "peer closed");
}

#[tokio::test]
async fn large_output_keeps_its_order_under_back_pressure() {
    let shutdown = Shutdown::new();
    let (link, client) = pair(&shutdown, TlsRole::None, Pace::default()).await;
    start(link, Echo::default(), Oracle::default());
    let answer = talk(client, "ASK big 30000000\r\nQUIT\r\n").await;
    assert_eq!(answer.len(), "hello\r\n".len() + 30_000_000 + "done\r\nbye\r\n".len());
    assert!(answer.ends_with("xdone\r\nbye\r\n"));
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut() {
    let shutdown = Shutdown::new();
    let pace = Pace { write: Duration::from_millis(50), ..Pace::default() };
    let (link, mut client) = pair(&shutdown, TlsRole::None, pace).await;
    let ended = start(link, Echo::default(), Oracle::default());
    client.write_all(b"ASK big 100000000\r\n").await.unwrap();
    assert_eq!(timeout(PATIENCE, ended).await.unwrap().unwrap(), "too slow: not reading");
}

#[tokio::test]
async fn a_line_that_trickles_in_is_cut() {
    let shutdown = Shutdown::new();
    let pace = Pace { line: Duration::from_millis(100), ..Pace::default() };
    let (link, mut client) = pair(&shutdown, TlsRole::None, pace).await;
    let mut ended = start(link, Echo::default(), Oracle::default());
    let end = loop {
        tokio::select! {
            end = &mut ended => break end.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(10)) => { let _ = client.write_all(b"x").await; }
        }
    };
    assert_eq!(end, "too slow: an unfinished line");
}

#[tokio::test]
async fn a_body_that_trickles_in_is_cut_although_each_line_is_whole() {
    let shutdown = Shutdown::new();
    let pace = Pace { bulk_window: Duration::from_millis(100), bulk_bytes: 1000, ..Pace::default() };
    let (link, mut client) = pair(&shutdown, TlsRole::None, pace).await;
    let mut ended = start(link, Echo::default(), Oracle::default());
    client.write_all(b"ASK bulk\r\n").await.unwrap();
    let end = loop {
        tokio::select! {
            end = &mut ended => break end.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(10)) => { let _ = client.write_all(b"x\r\n").await; }
        }
    };
    assert_eq!(end, "too slow: a message that trickles in");
}

#[tokio::test]
async fn the_session_is_asked_again_at_its_time() {
    let shutdown = Shutdown::new();
    let (link, mut client) = pair(&shutdown, TlsRole::None, Pace::default()).await;
    let mut session = Echo::default();
    session.patience = Some(Duration::from_millis(30));
    let ended = start(link, session, Oracle::default());
    let mut answer = String::new();
    timeout(PATIENCE, client.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, "hello\r\ntimeout\r\n");
    assert_eq!(timeout(PATIENCE, ended).await.unwrap().unwrap(), "closed");
}

#[tokio::test]
async fn a_panic_ends_one_connection() {
    let shutdown = Shutdown::new();
    let (link, client) = pair(&shutdown, TlsRole::None, Pace::default()).await;
    let ended = start(link, Echo::default(), Oracle::default());
    let (other, other_client) = pair(&shutdown, TlsRole::None, Pace::default()).await;
    start(other, Echo::default(), Oracle::default());
    assert_eq!(talk(client, "one\r\nASK panic\r\n").await, "hello\r\n");
    assert_eq!(timeout(PATIENCE, ended).await.unwrap().unwrap(), "internal error: panic in a session");
    assert_eq!(talk(other_client, "one\r\n").await, "hello\r\n> one\r\n");
}

#[tokio::test]
async fn a_handler_can_cut() {
    let shutdown = Shutdown::new();
    let (link, client) = pair(&shutdown, TlsRole::None, Pace::default()).await;
    let ended = start(link, Echo::default(), Oracle::default());
    talk(client, "ASK stop\r\n").await;
    assert_eq!(timeout(PATIENCE, ended).await.unwrap().unwrap(), "stopped: as asked");
}

#[tokio::test]
async fn news_wakes_a_waiting_session() {
    let shutdown = Shutdown::new();
    let (link, mut client) = pair(&shutdown, TlsRole::None, Pace::default()).await;
    let (send, news) = mpsc::channel(1);
    start(link, Echo::default(), Oracle { news: Some(news), ..Oracle::default() });
    let mut answer = [0; 7];
    client.read_exact(&mut answer).await.unwrap();
    send.send("rain".to_owned()).await.unwrap();
    assert_eq!(talk(client, "QUIT\r\n").await, "news: rain\r\nbye\r\n");
}

#[tokio::test]
async fn stopping_lets_the_work_in_hand_finish() {
    let shutdown = Shutdown::new();
    let (link, mut client) = pair(&shutdown, TlsRole::None, Pace::default()).await;
    let handler = Oracle::default();
    let asked = handler.asked.clone();
    let ended = start(link, Echo::default(), handler);
    client.write_all(b"ASK nap 50\r\n").await.unwrap();
    while asked.load(std::sync::atomic::Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    shutdown.enter(Phase::Stopping);
    let mut answer = String::new();
    timeout(PATIENCE, client.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, "hello\r\nawake\r\nstopping\r\n");
    assert_eq!(timeout(PATIENCE, ended).await.unwrap().unwrap(), "closed");
}

#[tokio::test]
async fn the_end_of_the_grace_cuts_also_who_does_not_read() {
    let shutdown = Shutdown::new();
    let (link, mut client) = pair(&shutdown, TlsRole::None, Pace::default()).await;
    let ended = start(link, Echo::default(), Oracle::default());
    client.write_all(b"ASK big 100000000\r\n").await.unwrap();
    client.readable().await.unwrap();
    shutdown.enter(Phase::Stopping);
    shutdown.enter(Phase::Ending);
    assert_eq!(timeout(PATIENCE, ended).await.unwrap().unwrap(), "server stopped");
}

#[tokio::test]
async fn a_peer_that_is_still_sending_is_not_reset() {
    let shutdown = Shutdown::new();
    let (link, mut client) = pair(&shutdown, TlsRole::None, Pace::default()).await;
    let mut text = b"QUIT\r\n".to_vec();
    text.resize(200_000, b'x');
    client.write_all(&text).await.unwrap();
    let serving = tokio::spawn(drive(link, Echo::default(), Oracle::default()));
    let mut answer = String::new();
    timeout(PATIENCE, client.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, "hello\r\nbye\r\n");
    // The server has said all, but it still listens; a reset would make these fail, and could overtake the answer on
    // a slower network.
    client.write_all(b"more").await.unwrap();
    client.write_all(b"and more").await.unwrap();
    drop(client);
    let summary = timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert_eq!(summary.end.to_string(), "closed");
}

/// What waits for the end of something may wait longer than a line may take, and when it is much, no more is read.
#[tokio::test]
async fn whoever_has_to_wait_is_not_slow_and_sends_no_more() {
    for octets in [1, 65_536] {
        let shutdown = Shutdown::new();
        let (send, news) = mpsc::channel(1);
        let pace = Pace { line: Duration::from_millis(1), ..Pace::default() };
        let (link, mut client) = pair(&shutdown, TlsRole::None, pace).await;
        let ended = start(link, Echo::default(), Oracle { news: Some(news), ..Oracle::default() });
        client.write_all(format!("HOLD {octets}\r\n").as_bytes()).await.unwrap();
        let mut said = [0; b"hello\r\nholding\r\n".len()];
        timeout(PATIENCE, client.read_exact(&mut said)).await.unwrap().unwrap();
        client.write_all(b"one\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        send.send("done".to_owned()).await.unwrap();
        assert_eq!(talk(client, "QUIT\r\n").await, "news: done\r\n> one\r\nbye\r\n");
        assert_eq!(timeout(PATIENCE, ended).await.unwrap().unwrap(), "closed");
    }
}
