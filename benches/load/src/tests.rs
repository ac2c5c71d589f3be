use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Where `serve` does what it does with a listener.
pub(super) fn serving<F>(serve: impl FnOnce(TcpListener) -> F + Send + 'static) -> SocketAddr
where
    F: Future,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            serve(TcpListener::from_std(listener).unwrap()).await;
        });
    });
    address
}

fn run_against<F>(plan: Plan, serve: impl FnOnce(TcpListener) -> F + Send + 'static) -> Outcome
where
    F: Future,
{
    let address = serving(serve);
    run(&Plan { address, ..plan }).unwrap()
}

const PLAN: Plan = Plan {
    address: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0),
    connections: 4,
    duration: Duration::from_secs(60),
    requests_max: 1000,
    headers: "",
    pace: Duration::ZERO,
};

#[test]
fn every_request_is_answered_until_the_count_is_reached() {
    let outcome = run_against(PLAN, upstream::serve);
    assert_eq!((outcome.requests, outcome.errors), (1000, 0));
    assert!(outcome.latencies.percentile(50) > Duration::ZERO);
}

#[test]
fn time_ends_the_run_too() {
    let plan = Plan {
        duration: Duration::from_millis(50),
        requests_max: usize::MAX,
        headers: "",
        pace: Duration::ZERO,
        ..PLAN
    };
    let outcome = run_against(plan, upstream::serve);
    assert!(outcome.elapsed >= plan.duration);
    assert_eq!(outcome.errors, 0);
}

#[test]
fn other_statuses_are_errors() {
    let outcome = run_against(PLAN, async |listener| {
        while let Ok((mut connection, _)) = listener.accept().await {
            let refusal = b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n";
            assert!(connection.read(&mut [0; 1024]).await.unwrap() > 0);
            connection.write_all(refusal).await.unwrap();
        }
    });
    // The refusals, and the connections that are closed after them.
    assert_eq!(outcome.errors, 2 * PLAN.connections);
    assert_eq!(outcome.requests, 0);
}

#[test]
fn closed_connections_are_errors() {
    let outcome = run_against(PLAN, async |listener| {
        while let Ok((connection, _)) = listener.accept().await {
            drop(connection);
        }
    });
    assert_eq!((outcome.requests, outcome.errors), (0, PLAN.connections));
}
