//! A shop whose visitors keep their carts when a node dies.
//!
//! ```text
//! cargo run --example cart -- n1 8081
//! cargo run --example cart -- n2 8082
//! curl -c jar -b jar http://127.0.0.1:8081/add/apple
//! curl -c jar -b jar http://127.0.0.1:8082/add/pear     # the other node has the apple, too
//! ```

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use folkmoot::{Cluster, Session, SessionError, SessionLayer};

async fn add(session: Session, Path(item): Path<String>) -> Result<String, SessionError> {
    let mut cart: Vec<String> = session.get("cart")?.unwrap_or_default();
    cart.push(item);
    session.insert("cart", &cart)?;
    Ok(format!("{}\n", cart.join(", ")))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let mut arguments = std::env::args().skip(1);
    let route = arguments.next().unwrap_or_else(|| "n1".to_owned());
    let port: u16 = arguments
        .next()
        .unwrap_or_else(|| "8081".to_owned())
        .parse()?;

    let cluster = Cluster::builder().jvm_route(route).start()?;
    let shop = cluster.delta_manager("/")?;
    let app = Router::new()
        .route("/add/{item}", get(add))
        .layer(SessionLayer::new(&shop));
    shop.ready().await;
    let listener = tokio::net::TcpListener::bind(("0.0.0.0", port)).await?;
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await?;
    cluster.shutdown().await;
    Ok(())
}
