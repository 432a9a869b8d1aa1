//! One connection through the proxy: two copies of bytes, and what may become of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{sleep, timeout},
};

use super::{
    Control, Cut, Mode,
    wire::{Client, Frame, Frames},
};

const BUFFER: usize = 64 * 1024;
/// How long a server may answer a client that is gone.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Why a link ended.
enum End {
    /// One side closed or broke.
    Closed,
    /// The client is to be reset.
    Cut,
    /// The client is to be reset, and the server is let finish what it does.
    CutBlind,
    /// The client is to be reset, and these bytes reach the server later.
    CutLate(Vec<u8>, Duration),
    /// The server's side is to be closed, and the client not told.
    HalfOpen,
}

/// Copies until either side ends, or the client is to be cut off.
pub(super) async fn run(mut client: TcpStream, mut server: TcpStream, control: Arc<Control>) {
    let Some(requests) = open(&mut client, &mut server).await else {
        return;
    };
    let appending = AtomicBool::new(false);
    let mut resets = control.resets.subscribe();
    resets.borrow_and_update();
    let mut mode = control.mode.subscribe();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let end = tokio::select! {
        end = copy_requests(&mut from_client, &mut to_server, requests, &control, &appending) => end,
        end = copy_answers(&mut from_server, &mut to_client, &control, &appending) => end,
        _ = resets.changed() => End::Cut,
        _ = mode.wait_for(|mode| *mode == Mode::HalfOpen) => End::HalfOpen,
    };
    match end {
        End::Closed => {}
        End::Cut => reset(from_client, to_client),
        End::CutBlind => {
            reset(from_client, to_client);
            drain(&mut from_server).await;
        }
        End::CutLate(bytes, late) => {
            reset(from_client, to_client);
            sleep(late).await;
            to_server.write_all(&bytes).await.ok();
            drain(&mut from_server).await;
        }
        End::HalfOpen => {
            drop((from_server, to_server));
            mode.wait_for(|mode| *mode != Mode::HalfOpen).await.ok();
            reset(from_client, to_client);
        }
    }
}

/// The messages that open a connection. Encryption is declined, for it could not be looked into.
async fn open(client: &mut TcpStream, server: &mut TcpStream) -> Option<Frames> {
    let mut frames = Frames::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        while let Some(frame) = frames.next(false) {
            if frame.asks_for_encryption() {
                client.write_all(b"N").await.ok()?;
            } else {
                server.write_all(&frame.bytes).await.ok()?;
                return Some(frames);
            }
        }
        match client.read(&mut buffer).await {
            Ok(length @ 1..) => frames.feed(&buffer[..length]),
            _ => return None,
        }
    }
}

/// Closes at once, so that what was not read or sent yet is lost and the client hears of it.
fn reset(from_client: OwnedReadHalf, to_client: OwnedWriteHalf) {
    if let Ok(client) = from_client.reunite(to_client) {
        client.set_zero_linger().ok();
    }
}

/// The server answers into nothing; its side stays open until it has.
async fn drain(from_server: &mut OwnedReadHalf) {
    let mut frames = Frames::default();
    let mut buffer = vec![0; BUFFER];
    let drained = async {
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            frames.feed(&buffer[..length]);
            while let Some(frame) = frames.next(true) {
                if frame.is_idle() {
                    return;
                }
            }
        }
    };
    timeout(DRAIN_LIMIT, drained).await.ok();
}

async fn copy_requests(
    from_client: &mut OwnedReadHalf,
    to_server: &mut OwnedWriteHalf,
    mut frames: Frames,
    control: &Control,
    appending: &AtomicBool,
) -> End {
    let mut client = Client::default();
    let mut buffer = vec![0; BUFFER];
    let mut swallowed = false;
    loop {
        let mut out = Vec::new();
        let mut cut = None;
        while let Some(frame) = frames.next(true) {
            if client.appends(&frame) {
                cut = cut.or_else(|| control.take_cut(|cut| cut != Cut::Answer));
                appending.store(true, Ordering::SeqCst);
            }
            out.extend(frame.bytes);
        }
        let mode = *control.mode.borrow();
        if let Mode::Latency(latency) = mode {
            sleep(latency).await;
        }
        match (mode, cut) {
            (Mode::SwallowRequests, _) => swallowed |= !out.is_empty(),
            _ if swallowed && !out.is_empty() => return End::Cut,
            (_, Some(Cut::Request)) => return End::Cut,
            (_, Some(Cut::Late(late))) => return End::CutLate(out, late),
            (_, cut) => {
                if to_server.write_all(&out).await.is_err() {
                    return End::Closed;
                }
                if cut == Some(Cut::Blind) {
                    return End::CutBlind;
                }
            }
        }
        match from_client.read(&mut buffer).await {
            Ok(length @ 1..) => frames.feed(&buffer[..length]),
            _ => return End::Closed,
        }
    }
}

async fn copy_answers(
    from_server: &mut OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    control: &Control,
    appending: &AtomicBool,
) -> End {
    let mut frames = Frames::default();
    let mut buffer = vec![0; BUFFER];
    // What a server says of an append is held until it is known whether it committed.
    let mut held: Vec<Frame> = Vec::new();
    let mut swallowed = false;
    loop {
        match from_server.read(&mut buffer).await {
            Ok(length @ 1..) => frames.feed(&buffer[..length]),
            _ => return End::Closed,
        }
        let mut out = Vec::new();
        while let Some(frame) = frames.next(true) {
            let (ready, idle) = (frame.is_ready(), frame.is_idle());
            held.push(frame);
            if appending.load(Ordering::SeqCst) && !ready {
                continue;
            }
            // Inside a transaction the append is not committed yet.
            let committed = !held.iter().any(Frame::is_error);
            if idle
                && appending.swap(false, Ordering::SeqCst)
                && committed
                && control.take_cut(|cut| cut == Cut::Answer).is_some()
            {
                return End::Cut;
            }
            out.extend(held.drain(..).flat_map(|frame| frame.bytes));
        }
        let mode = *control.mode.borrow();
        if let Mode::Latency(latency) = mode {
            sleep(latency).await;
        }
        if mode == Mode::SwallowAnswers {
            swallowed |= !out.is_empty();
        } else if swallowed && !out.is_empty() {
            return End::Cut;
        } else if to_client.write_all(&out).await.is_err() {
            return End::Closed;
        }
    }
}
