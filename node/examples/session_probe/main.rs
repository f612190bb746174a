//! A server that offers every session operation over HTTP and answers in JSON, for clients that compare the
//! nodes of a cluster whatever they are written in. Configured by environment variables alone; stops cleanly on
//! TERM and INT.
//!
//! ```text
//! PROBE_NAME=n1 PROBE_HTTP_PORT=8081 cargo run --example session_probe
//! curl -i 'http://127.0.0.1:8081/s/set?k=cart&type=string&v=apple'
//! ```

mod answer;
mod app;
mod context;
mod env;
mod lab;
mod manage;
mod manager;
mod session;
mod text;
mod values;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use folkmoot::{Cluster, ReplicatedContext, StaticMember, Tuning, UniqueId};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use context::ContextAttributes;
use env::{Environment, Membership};
use manager::Manager;

/// Open requests get so long to end after TERM.
const GRACE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_ansi(false)
        .with_writer(std::io::stdout)
        .init();
    let env = match Environment::read() {
        Ok(env) => env,
        Err(error) => {
            println!("session probe: {error}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            println!("session probe: no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(env)) {
        Ok(()) => {
            println!("session probe: stopped");
            ExitCode::SUCCESS
        }
        Err(Failure::Environment(why)) => {
            println!("session probe: {why}");
            ExitCode::from(2)
        }
        Err(Failure::Run(why)) => {
            println!("session probe: {why}");
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    /// The environment makes no sense: which variable, and why.
    Environment(String),
    /// Anything else.
    Run(String),
}

async fn run(env: Environment) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Run(error.to_string());
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
    let stop = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    tokio::pin!(stop);

    let cluster = start(&env)?;
    let mut managers: Vec<(Manager, Option<ReplicatedContext>)> = Vec::new();
    for context in &env.contexts {
        let culprit = |error| Failure::Environment(format!("PROBE_CONTEXTS: {error}"));
        let manager = Manager::new(&cluster, &context.path, &env).map_err(culprit)?;
        let shared = env
            .replicated_context
            .then(|| cluster.replicated_context(&context.path));
        managers.push((manager, shared.transpose().map_err(culprit)?));
    }

    // As in Tomcat nobody is served before the sessions are here.
    let ready = async {
        for (manager, context) in &managers {
            manager.ready().await;
            if let Some(context) = context {
                context.ready().await;
            }
        }
    };
    let stopped_early = tokio::select! {
        () = &mut stop => true,
        () = ready => false,
    };
    if !stopped_early {
        let listener = TcpListener::bind(env.http).await.map_err(|error| {
            Failure::Environment(format!(
                "PROBE_HTTP_HOST, PROBE_HTTP_PORT: cannot serve on {}: {error}",
                env.http
            ))
        })?;
        let listener = listener.tap_io(|stream| {
            // An answer is one small write: it must not wait for the next.
            let _ = stream.set_nodelay(true);
        });
        let applications = managers.iter().map(|(manager, context)| {
            let layer = manager.layer().jvm_route_binder(env.jvm_route_valve);
            let attributes = match context {
                Some(context) => ContextAttributes::Shared(context.clone()),
                None => ContextAttributes::Local(Default::default()),
            };
            (manager.clone(), layer, attributes)
        });
        let router = app::router(&env.name, &cluster, applications);
        println!("session probe: serving");
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
            let _ = ended.await;
        });
        let mut serving = tokio::spawn(async move { serving.await });
        stop.await;
        let _ = end.send(());
        if tokio::time::timeout(GRACE, &mut serving).await.is_err() {
            serving.abort();
        }
    }
    cluster.shutdown().await;
    Ok(())
}

fn start(env: &Environment) -> Result<Cluster, Failure> {
    let mut tuning = Tuning::default();
    if env.ring {
        tuning = tuning.with_ring();
    }
    let mut builder = Cluster::builder()
        .receiver_address(env.receiver.ip())
        .receiver_port(env.receiver.port())
        .auto_bind(1)
        .channel_send_options(env.send_options)
        .driver(env.driver)
        .tuning(tuning)
        .jvm_route(&env.name)
        .domain(&env.domain)
        .background_processor_delay(env.background_delay);
    builder = match &env.membership {
        Membership::Multicast {
            address,
            port,
            bind,
            frequency,
            drop_time,
        } => {
            let builder = builder
                .multicast(*address, *port)
                .frequency(*frequency)
                .drop_time(*drop_time);
            match bind {
                Some(bind) => builder.multicast_bind(*bind),
                None => builder,
            }
        }
        Membership::Static(members) => builder.static_members(fixed(members)),
        Membership::StaticService(members) => builder.static_membership_service(fixed(members)),
        Membership::Alone => builder.no_membership(),
    };
    for interceptor in &env.interceptors {
        builder = builder.interceptor(interceptor.clone());
    }
    // With multicast every start has an id of its own, unless it is asked for.
    if let Some(id) = env.unique_id {
        builder = builder.unique_id(id);
    }
    if let Some(dir) = &env.node_dir {
        builder = builder.state_dir(dir);
    }
    builder
        .start()
        .map_err(|error| Failure::Environment(format!("{}: {error}", culprit(&error))))
}

fn fixed(members: &[(SocketAddr, UniqueId)]) -> impl Iterator<Item = StaticMember> {
    let member = |(address, id): &(SocketAddr, UniqueId)| StaticMember::new(*address, *id);
    members.iter().map(member)
}

/// The variables that an error is about.
fn culprit(error: &folkmoot::StartError) -> &'static str {
    use folkmoot::{BindError, ChannelConfigError, ConfigError, StartError};
    match error {
        StartError::Config(ConfigError::Domain(_)) => "PROBE_DOMAIN",
        StartError::Config(ConfigError::JvmRoute(_)) => "PROBE_NAME",
        StartError::Config(ConfigError::OutOfRange(..)) => "PROBE_BG_DELAY_S",
        StartError::Config(ConfigError::Channel(ChannelConfigError::Interceptor(..))) => {
            "PROBE_INTERCEPTORS"
        }
        StartError::Config(
            ConfigError::UnknownSendOption(_)
            | ConfigError::SynchronizedAckWithoutUseAck(_)
            | ConfigError::SendOptionNotForSessions(_),
        ) => "PROBE_SEND_OPTIONS",
        StartError::Bind(
            BindError::NotMulticast { .. }
            | BindError::Multicast { .. }
            | BindError::MulticastPortTaken { .. },
        ) => "PROBE_MCAST_ADDR, PROBE_MCAST_PORT, PROBE_MCAST_BIND",
        StartError::Bind(_) => "PROBE_CLUSTER_HOST, PROBE_CLUSTER_PORT",
        StartError::StateDir { .. } => "PROBE_NODE_DIR",
        _ => "PROBE_CLUSTER_HOST, PROBE_MEMBERSHIP, PROBE_STATIC_MEMBERS, PROBE_MCAST_*",
    }
}
