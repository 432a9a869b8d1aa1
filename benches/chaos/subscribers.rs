//! Subscribers over HTTP: they follow the log as server-sent events, from one server after another,
//! and write down what they take for new.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    check::ROLE,
    history::{Follow, Line, Saw},
    world::World,
};

/// Those that follow everything, and the aggregates that have one of their own.
const OF_ALL: u32 = 2;
const OF_ONE: [&str; 2] = ["warm-0", "warm-7"];
/// How long a server may take to begin its answer.
const TIMEOUT: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(50);

/// Subscribers at work.
#[derive(Debug)]
pub(crate) struct Subscribers {
    wanted: Vec<Follow>,
    /// For each, the position it has to get to once callers have ended.
    goals: watch::Sender<Vec<u64>>,
    tasks: JoinSet<()>,
}

impl Subscribers {
    pub(crate) fn start(world: &Arc<World>, seed: u64) -> Self {
        let all = (0..OF_ALL).map(|number| Follow {
            subscriber: format!("all-{number}"),
            id: None,
        });
        let one = OF_ONE.iter().map(|id| Follow {
            subscriber: format!("of-{id}"),
            id: Some((*id).to_owned()),
        });
        let wanted: Vec<Follow> = all.chain(one).collect();
        let goals = watch::Sender::new(Vec::new());
        let mut tasks = JoinSet::new();
        for (number, follow) in (0_u64..).zip(&wanted) {
            world.history.write(&Line::Follow(follow.clone()));
            let subscriber = Subscriber {
                world: Arc::clone(world),
                client: Client::builder().no_proxy().build().expect("a client"),
                follow: follow.clone(),
                number: usize::try_from(number).expect("few"),
                position: 0,
                random: StdRng::seed_from_u64(seed ^ (0xf0_110d << 32) ^ number),
                goals: goals.subscribe(),
            };
            tasks.spawn(subscriber.run());
        }
        Self {
            wanted,
            goals,
            tasks,
        }
    }

    /// Lets them see all that is stored by now; tells what is wrong where one does not get there.
    pub(crate) async fn catch_up(mut self, world: &World, limit: Duration) -> Option<String> {
        let began = Instant::now();
        let client = Client::builder().no_proxy().timeout(TIMEOUT).build();
        let client = client.expect("a client");
        let mut goals = Vec::new();
        for follow in &self.wanted {
            loop {
                if let Some(last) = last_position(&client, world, follow).await {
                    goals.push(last);
                    break;
                }
                if began.elapsed() > limit {
                    return Some("no server tells where the log ends".to_owned());
                }
                sleep(PAUSE).await;
            }
        }
        self.goals.send_replace(goals.clone());
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.expect("a subscriber ends by itself");
            }
        };
        timeout(limit, all).await.err().map(|_| {
            let left = self.tasks.len();
            format!("{left} subscribers do not get to the ends, {goals:?}, of what they follow")
        })
    }
}

/// The last position of what is followed; nothing where no server tells.
async fn last_position(client: &Client, world: &World, follow: &Follow) -> Option<u64> {
    let (_, address) = world.any_address(0)?;
    let query = follow.query();
    let url = format!("http://{address}/v1/events?order=desc&limit=1{query}");
    let answer = client.get(url).send().await.ok()?;
    if answer.status() != 200 {
        return None;
    }
    let body: Value = answer.json().await.ok()?;
    let events = body["events"].as_array()?;
    let last = events.first().map(|event| event["position"].as_u64());
    Some(last.flatten().unwrap_or(0))
}

impl Follow {
    fn query(&self) -> String {
        let of_one = |id| format!("&aggregate_type={ROLE}&aggregate_id={id}");
        self.id.as_ref().map(of_one).unwrap_or_default()
    }
}

struct Subscriber {
    world: Arc<World>,
    client: Client,
    follow: Follow,
    number: usize,
    /// The last that it took for new.
    position: u64,
    random: StdRng,
    goals: watch::Receiver<Vec<u64>>,
}

impl Subscriber {
    async fn run(mut self) {
        while !self.is_there() {
            if let Some(response) = self.open().await {
                // Then another server has its turn, whatever this one does.
                let turn = Duration::from_millis(self.random.random_range(500..8000));
                let mut goals = self.goals.clone();
                goals.mark_unchanged();
                tokio::select! {
                    _ = timeout(turn, self.read(response)) => {}
                    _ = goals.changed() => {}
                }
            } else {
                sleep(PAUSE).await;
            }
        }
        let subscriber = self.follow.subscriber.clone();
        self.world.history.write(&Line::Complete { subscriber });
    }

    fn is_there(&self) -> bool {
        let goals = self.goals.borrow();
        let goal = goals.get(self.number);
        goal.is_some_and(|goal| self.position >= *goal)
    }

    async fn open(&mut self) -> Option<Response> {
        let (_, address) = self.world.any_address(self.random.random())?;
        let query = self.follow.query();
        let mut request = self
            .client
            .get(format!("http://{address}/v1/events/stream?after=0{query}"));
        if self.position > 0 {
            request = request.header("Last-Event-ID", self.position.to_string());
        }
        let answer = timeout(TIMEOUT, request.send()).await.ok()?.ok()?;
        (answer.status() == 200).then_some(answer)
    }

    /// Reads events until the stream ends, or all is there.
    async fn read(&mut self, mut response: Response) {
        let mut unread: Vec<u8> = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            unread.extend_from_slice(&chunk);
            let mut start = 0;
            while let Some(end) = unread[start..].windows(2).position(|pair| pair == b"\n\n") {
                self.hear(&unread[start..start + end]);
                start += end + 2;
            }
            unread.drain(..start);
            if self.is_there() {
                return;
            }
        }
    }

    fn hear(&mut self, message: &[u8]) {
        let text = String::from_utf8_lossy(message);
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let (Some(position), Some(data)) = (field("id: "), field("data: ")) else {
            return;
        };
        let position = position.parse().expect("a position");
        let event: Value = serde_json::from_str(data).expect("an event is JSON");
        self.world.history.write(&Line::Saw(Saw {
            subscriber: self.follow.subscriber.clone(),
            position,
            event: event["id"].as_str().unwrap_or_default().to_owned(),
        }));
        self.position = position;
    }
}
