//! Facts of actix 0.13 that the runtime relies on, each held by a test of ours.

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, Addr, AsyncContext as _, Context, Handler,
    Message, WrapFuture as _, dev::SendError,
};
use tokio::sync::{mpsc, oneshot};

/// Tells what it handles, in order.
struct Scribe(mpsc::UnboundedSender<u32>);

impl Scribe {
    /// Starts one whose mailbox is as those of aggregates are.
    fn start() -> (Addr<Self>, mpsc::UnboundedReceiver<u32>) {
        let (tell, told) = mpsc::unbounded_channel();
        let (sender, receiver) = actix::dev::channel::channel(0);
        actix_rt::spawn(Context::with_receiver(receiver).into_future(Self(tell)));
        (Addr::new(sender), told)
    }

    fn tell(&self, number: u32) {
        // Whoever listened may have heard enough.
        let _ = self.0.send(number);
    }
}

impl Actor for Scribe {
    type Context = Context<Self>;
}

/// What a scribe is asked to do.
enum Order {
    /// Tell a number.
    Tell(u32),
    /// Tell a number, and notify yourself of another.
    TellAndNotify(u32, u32),
    /// Wait for this, then tell a number.
    WaitFor(oneshot::Receiver<()>, u32),
    /// Stop.
    Stop,
    /// Tell a number when you are dropped.
    TellWhenDropped(TellOnDrop),
}

struct TellOnDrop(mpsc::UnboundedSender<u32>, u32);

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        // As above.
        let _ = self.0.send(self.1);
    }
}

impl Message for Order {
    type Result = ();
}

impl Handler<Order> for Scribe {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Context<Self>) {
        match order {
            Order::Tell(number) => self.tell(number),
            Order::TellAndNotify(now, later) => {
                self.tell(now);
                ctx.notify(Order::Tell(later));
            }
            Order::WaitFor(signal, number) => {
                let waiting = async move { signal.await.is_ok() };
                ctx.wait(
                    waiting
                        .into_actor(self)
                        .map(move |_, scribe, _| scribe.tell(number)),
                );
            }
            Order::Stop => ctx.stop(),
            Order::TellWhenDropped(order) => drop(order),
        }
    }
}

async fn next<const N: usize>(told: &mut mpsc::UnboundedReceiver<u32>) -> [u32; N] {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = told.recv().await.unwrap();
    }
    numbers
}

/// `load` relies on it: nothing is decided while the state is being read.
#[test]
fn a_wait_closes_the_mailbox_until_it_ends() {
    actix_rt::System::new().block_on(async {
        let (scribe, mut told) = Scribe::start();
        let (signal, waiting) = oneshot::channel();

        scribe.try_send(Order::WaitFor(waiting, 1)).ok().unwrap();
        scribe.try_send(Order::Tell(2)).ok().unwrap();
        for _ in 0..50 {
            actix_rt::task::yield_now().await;
        }
        let meanwhile = told.try_recv();
        signal.send(()).unwrap();

        assert!(meanwhile.is_err());
        assert_eq!(next(&mut told).await, [1, 2]);
    });
}

/// `HandOverNow` relies on it: what waits in the mailbox is decided before anything is handed over.
#[test]
fn a_notification_comes_after_the_mailbox_is_drained() {
    actix_rt::System::new().block_on(async {
        let (scribe, mut told) = Scribe::start();

        scribe.try_send(Order::TellAndNotify(1, 9)).ok().unwrap();
        for number in 2..=5 {
            scribe.try_send(Order::Tell(number)).ok().unwrap();
        }

        assert_eq!(next(&mut told).await, [1, 2, 3, 4, 5, 9]);
    });
}

/// The fates of a hand-over rely on it: they are never refused by a full mailbox. And it is why
/// work is counted before it is sent.
#[test]
fn a_mailbox_of_capacity_zero_has_no_bound() {
    actix_rt::System::new().block_on(async {
        let (scribe, mut told) = Scribe::start();

        for number in 0..5000 {
            scribe.try_send(Order::Tell(number)).ok().unwrap();
        }

        for number in 0..5000 {
            assert_eq!(told.recv().await, Some(number));
        }
    });
}

/// It is why an actor stops only after it has closed its slot, and why that needs a count of zero.
#[test]
fn an_actor_that_stops_drops_what_waits_in_its_mailbox() {
    actix_rt::System::new().block_on(async {
        let (scribe, mut told) = Scribe::start();
        let (tell, mut dropped) = mpsc::unbounded_channel();

        scribe.try_send(Order::Stop).ok().unwrap();
        let unhandled = Order::TellWhenDropped(TellOnDrop(tell, 7));
        scribe.try_send(unhandled).ok().unwrap();

        assert_eq!(dropped.recv().await, Some(7));
        assert_eq!(told.recv().await, None);
        assert!(!scribe.connected());
        let late = scribe.try_send(Order::Tell(1));
        assert!(matches!(late, Err(SendError::Closed(Order::Tell(1)))));
    });
}
