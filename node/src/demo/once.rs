//! `folkmoot demo --once`: the nine steps of Tomcat's cluster how-to, then a kill of every node in turn under load.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use folkmoot::SendOptions;
use folkmoot_core::wire::AckPolicy;
use serde_json::Value;

use super::client::{Client, Failure};
use super::front::Front;
use super::load::Load;
use super::supervisor::{Plan, Supervisor};

/// The longest wait for anything that has to come true.
const SOON: Duration = Duration::from_secs(20);
/// Clients that count while nodes are killed.
const CLIENTS: usize = 16;
/// How long the load goes on before and after each kill.
const SPELL: Duration = Duration::from_secs(1);

/// Plays everything; success only if every step held.
pub(crate) async fn play(
    supervisor: Arc<Supervisor>,
    plan: &Plan,
) -> Result<ExitCode, Box<dyn Error>> {
    println!(
        "Membership by {}, send options {}.",
        plan.membership, plan.send_options
    );
    let options: SendOptions = plan.send_options.parse()?;
    let mut play = Play {
        waits: options.ack_policy() == AckPolicy::OnProcessed,
        stage: Stage {
            supervisor,
            client: Client::new(),
        },
        failed: 0,
    };
    play.nine_steps().await;
    play.kills_under_load().await;
    Ok(match play.failed {
        0 => {
            println!("All steps held.");
            ExitCode::SUCCESS
        }
        failed => {
            println!("{failed} steps failed.");
            ExitCode::FAILURE
        }
    })
}

struct Play {
    /// Whether an answer waits until every node has what it changed. If not, a node that dies takes its last answers with
    /// it: they are counted, and no failure.
    waits: bool,
    stage: Stage,
    failed: usize,
}

/// The nodes, and one browser that talks to them directly.
struct Stage {
    supervisor: Arc<Supervisor>,
    client: Client,
}

impl Play {
    /// Prints one line a step.
    fn step(&mut self, name: &str, result: Result<String, Failure>) {
        match result {
            Ok(figures) => println!("PASS {name}: {figures}"),
            Err(why) => {
                self.failed += 1;
                println!("FAIL {name}: {why}");
            }
        }
    }

    async fn nine_steps(&mut self) {
        let result = self.stage.start("n1").await;
        self.step("1 A starts", result);
        let result = self.stage.second_starts().await;
        self.step("2 B starts and joins", result);
        let result = self.stage.session_is_created("n1", "n2").await;
        self.step("3 A receives a request, S1 is created", result);
        let result = self.stage.node_crashes("n1", "n2").await;
        self.step("4 A crashes", result);
        let result = self.stage.other_node_takes_over("n2").await;
        self.step("5 B receives a request for S1", result);
        let result = self.stage.first_comes_back().await;
        self.step("6 A starts again and has S1", result);
        let result = self.stage.session_is_invalidated("n1", "n2").await;
        self.step("7 A receives a request, S1 is invalidated", result);
        self.stage.client.session = None;
        let result = self.stage.session_is_created("n2", "n1").await;
        self.step("8 B receives a request, S2 is created", result);
        let result = self.stage.session_expires("n2", "n1").await;
        self.step("9 S2 expires by inactivity", result);
    }

    async fn kills_under_load(&mut self) {
        let result = self.stage.start("n3").await;
        self.step("10 C starts", result);
        let listener = match Front::listen(0).await {
            Ok(listener) => listener,
            Err(error) => return self.step("11 load", Err(error.to_string())),
        };
        let address = match listener.local_addr() {
            Ok(address) => address,
            Err(error) => return self.step("11 load", Err(error.to_string())),
        };
        let front = Front::new(Arc::clone(&self.stage.supervisor));
        let serving = tokio::spawn(Arc::clone(&front).serve(listener));
        let load = Load::start(CLIENTS, address);
        for (index, name) in super::NAMES.into_iter().enumerate() {
            let result = self.kill_under_load(name, &load, &front).await;
            self.step(
                &format!("{} {name} is killed under load", index + 11),
                result,
            );
        }
        let result = load.stop().await.and_then(|seen| {
            let figures = format!(
                "{CLIENTS} clients, {} clicks answered, {} by another node, {} unanswered, {} lost",
                seen.answered,
                front.failovers(),
                seen.failed,
                seen.lost,
            );
            if (seen.lost == 0 || !self.waits) && seen.failed == 0 {
                Ok(figures)
            } else {
                Err(figures)
            }
        });
        self.step(self.verdict(), result);
        serving.abort();
    }

    async fn kill_under_load(
        &mut self,
        name: &str,
        load: &Load,
        front: &Front,
    ) -> Result<String, Failure> {
        tokio::time::sleep(SPELL).await;
        let (before, failovers) = (load.seen(), front.failovers());
        self.stage
            .supervisor
            .kill(name)
            .map_err(|error| error.to_string())?;
        tokio::time::sleep(SPELL).await;
        let started = self.stage.start(name).await?;
        tokio::time::sleep(SPELL).await;
        let (after, failovers) = (load.seen(), front.failovers() - failovers);
        let (answered, failed) = (
            after.answered - before.answered,
            after.failed - before.failed,
        );
        let figures = format!(
            "{answered} clicks answered meanwhile, {failovers} by another node, {failed} unanswered, {} lost; {started}",
            after.lost - before.lost
        );
        let held = answered > 0 && failed == 0 && (after.lost == before.lost || !self.waits);
        if held { Ok(figures) } else { Err(figures) }
    }

    const fn verdict(&self) -> &'static str {
        if self.waits {
            "14 nothing that was answered is lost"
        } else {
            "14 every click is answered (these options do not wait: a node's last answers may die with it)"
        }
    }
}

impl Stage {
    async fn start(&self, name: &str) -> Result<String, Failure> {
        let (supervisor, node) = (Arc::clone(&self.supervisor), name.to_owned());
        let began = Instant::now();
        tokio::task::spawn_blocking(move || supervisor.start(&node))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        Ok(format!("ready after {} ms", began.elapsed().as_millis()))
    }

    async fn second_starts(&mut self) -> Result<String, Failure> {
        let started = self.start("n2").await?;
        let waited = soon("both nodes see each other", async || {
            Ok(self.members("n1").await? == 1 && self.members("n2").await? == 1)
        });
        let waited = waited.await?;
        Ok(format!("{started}, both see each other {waited} ms later"))
    }

    async fn session_is_created(&mut self, on: &str, other: &str) -> Result<String, Failure> {
        let answer = self
            .client
            .post(self.http(on)?, "/api/cart/add?item=apple")
            .await?;
        let id = text(&answer, "id")?;
        if !id.ends_with(&format!(".{on}")) {
            return Err(format!("the id {id} does not end in .{on}"));
        }
        let waited = soon("the other node has the session", async || {
            let copy = self.look(other, &id).await?;
            Ok(copy.pointer("/cart/apple") == Some(&Value::from(1)))
        });
        let waited = waited.await?;
        Ok(format!("{id}, on {other} with its cart within {waited} ms"))
    }

    async fn node_crashes(&mut self, name: &str, other: &str) -> Result<String, Failure> {
        self.supervisor
            .kill(name)
            .map_err(|error| error.to_string())?;
        let waited = soon("the other node drops it", async || {
            Ok(self.members(other).await? == 0)
        })
        .await?;
        Ok(format!("killed, {other} dropped it after {waited} ms"))
    }

    async fn other_node_takes_over(&mut self, name: &str) -> Result<String, Failure> {
        let before = self.client.session.clone().ok_or("there is no session")?;
        let answer = self.client.get(self.http(name)?, "/api/state").await?;
        let id = text(&answer, "id")?;
        let base = before.split('.').next().unwrap_or_default();
        if id != format!("{base}.{name}") || self.client.session.as_ref() != Some(&id) {
            return Err(format!(
                "{before} became {id}, the cookie {:?}",
                self.client.session
            ));
        }
        if answer.pointer("/cart/apple") != Some(&Value::from(1)) {
            return Err(format!("the cart is {}", answer["cart"]));
        }
        Ok(format!("{before} became {id}, cart intact"))
    }

    async fn first_comes_back(&mut self) -> Result<String, Failure> {
        let started = self.start("n1").await?;
        let id = self.client.session.clone().ok_or("there is no session")?;
        let copy = self.look("n1", &id).await?;
        if copy.pointer("/cart/apple") != Some(&Value::from(1)) {
            return Err(format!("n1 has {copy} for {id}"));
        }
        Ok(format!("{started}, with {id}"))
    }

    async fn session_is_invalidated(&mut self, on: &str, other: &str) -> Result<String, Failure> {
        let answer = self.client.get(self.http(on)?, "/api/state").await?;
        let id = text(&answer, "id")?;
        if answer.pointer("/cart/apple") != Some(&Value::from(1)) {
            return Err(format!("the cart is {}", answer["cart"]));
        }
        self.client.post(self.http(on)?, "/api/invalidate").await?;
        let waited = self.gone(&id, [on, other]).await?;
        Ok(format!("{id} is gone from both nodes within {waited} ms"))
    }

    async fn session_expires(&mut self, on: &str, other: &str) -> Result<String, Failure> {
        let answer = self.client.post(self.http(on)?, "/api/count?max=2").await?;
        let id = text(&answer, "id")?;
        let waited = self.gone(&id, [on, other]).await?;
        if waited < 1900 {
            return Err(format!(
                "{id} with an interval of 2 s was gone after {waited} ms"
            ));
        }
        Ok(format!(
            "{id} with an interval of 2 s is gone from both nodes after {waited} ms"
        ))
    }

    /// Waits until no node has the session.
    async fn gone(&self, id: &str, nodes: [&str; 2]) -> Result<u128, Failure> {
        soon("the session is gone everywhere", async || {
            for node in nodes {
                if !self.look(node, id).await?.is_null() {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }

    /// How many other members a node sees.
    async fn members(&self, name: &str) -> Result<usize, Failure> {
        let answer = self
            .client
            .fresh()
            .get(self.http(name)?, "/api/members")
            .await?;
        Ok(answer.as_array().map_or(0, Vec::len))
    }

    /// A session as a node has it, untouched by the look; null if it has not.
    async fn look(&self, name: &str, id: &str) -> Result<Value, Failure> {
        let path = format!("/api/look?id={id}");
        self.client.fresh().get(self.http(name)?, &path).await
    }

    fn http(&self, name: &str) -> Result<SocketAddr, Failure> {
        self.supervisor
            .http(name)
            .ok_or_else(|| format!("{name} has not started"))
    }
}

/// Asks until the answer is yes; how many milliseconds that took.
async fn soon(
    what: &str,
    mut holds: impl AsyncFnMut() -> Result<bool, Failure>,
) -> Result<u128, Failure> {
    let began = Instant::now();
    loop {
        if holds().await? {
            return Ok(began.elapsed().as_millis());
        }
        if began.elapsed() > SOON {
            return Err(format!("not within {} s: {what}", SOON.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn text(answer: &Value, key: &str) -> Result<String, Failure> {
    let found = answer.get(key).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .ok_or_else(|| format!("no {key} in {answer}"))
}
