//! `cargo xtask demo`: a gateway with three filters in front of a small shop,
//! and what the filters do to a few requests.

mod exchange;
mod gateway;
mod shop;
mod show;

use std::io::Write;

use anyhow::{Result, bail, ensure};

use self::exchange::Message;
use self::gateway::Gateway;
use self::shop::Shop;
use crate::progress::step;
use crate::{filters, workspace};

/// Runs the demo; with `once`, ends after showing it.
pub(crate) fn run(once: bool) -> Result<()> {
    filters::run()?;
    step("building weir", workspace::build)?;
    let shop = Shop::open()?;
    let mut gateway = step("starting the gateway", || Gateway::start(shop.address()))?;

    for case in CASES {
        play(&shop, &gateway, case)?;
    }
    println!("\nBoth passed request-id, security-headers and redact, built from filters/.");
    if once {
        return Ok(());
    }
    how_to_play_on(&gateway);
    gateway.wait()
}

/// One request of the demo.
struct Case {
    title: &'static str,
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    /// Header of the response that the filters must have set.
    expected: (&'static str, &'static str),
}

const CASES: [&Case; 2] = [
    &Case {
        title: "A client reads an order",
        method: "GET",
        path: "/orders/7",
        headers: &[("accept", "application/json")],
        body: "",
        expected: ("x-content-type-options", "nosniff"),
    },
    &Case {
        title: "A client pays, with an identifier and a trace of its own",
        method: "POST",
        path: "/payments",
        headers: &[
            ("content-type", "application/json"),
            ("x-request-id", "checkout-4711"),
            (
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
        ],
        body: r#"{"card":"4111 1111 1111 1111","amount":"12.50"}"#,
        expected: ("x-request-id", "checkout-4711"),
    },
];

/// Sends a request through the gateway and shows it on both sides of the chain.
fn play(shop: &Shop, gateway: &Gateway, case: &Case) -> Result<()> {
    let sent = Message::request(case.method, case.path, case.headers, case.body);
    let received_by_client = exchange::send(gateway.address(), &sent)?;
    let Some((received_by_shop, sent_by_shop)) = shop.last_exchange() else {
        bail!("the request did not reach the upstream");
    };
    println!("\n━━ {} ━━", case.title);
    show::both(
        "request",
        ("client sent", &sent),
        ("upstream received", &received_by_shop),
    );
    show::both(
        "response",
        ("upstream sent", &sent_by_shop),
        ("client received", &received_by_client),
    );
    let (name, value) = case.expected;
    ensure!(
        received_by_client.start.contains(" 200 "),
        "the response is not a 200: {}",
        received_by_client.start
    );
    ensure!(
        received_by_client.header(name) == Some(value),
        "the response has no header `{name}: {value}`"
    );
    ensure!(
        received_by_shop.header("x-request-id").is_some(),
        "the upstream received no x-request-id"
    );
    ensure!(
        !received_by_client.body.contains("4111") && !received_by_shop.body.contains("4111"),
        "a card number got through"
    );
    Ok(())
}

fn how_to_play_on(gateway: &Gateway) {
    let (edge, admin) = (gateway.address(), gateway.admin());
    println!(
        "\nThe gateway stays up until Ctrl-C. Try:\n\
         \n  curl -i http://{edge}/orders/7\
         \n  curl -i http://{edge}/payments -H 'content-type: application/json' \
         -d '{{\"card\":\"4111 1111 1111 1111\"}}'\
         \n  curl -s http://{admin}/metrics\
         \n\nConfiguration  {}\nLog            {}\nAdmin          http://{admin}/",
        gateway.config().display(),
        gateway.log().display(),
    );
    // A pipe that is closed has nobody to tell.
    let _ = std::io::stdout().flush();
}
