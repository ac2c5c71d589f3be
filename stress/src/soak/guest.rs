//! The guest: it makes callouts of every kind from its ticks, keeps the tokens of
//! those under way, and traps at a token that it has already or does not have.

/// Callouts that the guest has under way at most.
const LIVE_MAX: u64 = 256;
/// Callouts that it begins in one tick at most.
const BATCH: u64 = 128;
/// Places for tokens, by their low bits; tokens are handed out in order, so that
/// no two of those under way come near the same place.
const PLACES: u32 = 1 << 16;
const PLACES_AT: u32 = 65_536;

/// The hostcalls: name and number of parameters.
const HOSTCALLS: [(&str, usize); 9] = [
    ("proxy_http_call", 10),
    ("proxy_grpc_call", 12),
    ("proxy_grpc_stream", 9),
    ("proxy_grpc_send", 4),
    ("proxy_grpc_cancel", 1),
    ("proxy_grpc_close", 1),
    ("proxy_set_tick_period_milliseconds", 1),
    ("proxy_define_metric", 4),
    ("proxy_record_metric", 2),
];

/// Names in the guest's memory: address and length.
struct Names(Vec<(u32, Vec<u8>)>);

impl Names {
    fn add(&mut self, bytes: &[u8]) -> String {
        let address = self.0.last().map_or(1024, |(a, b)| a + b.len() as u32);
        self.0.push((address, bytes.to_vec()));
        format!("(i32.const {address}) (i32.const {})", bytes.len())
    }
}

/// The module of a guest that makes `count` callouts, of one kind only if that
/// is wanted.
pub(crate) fn module(count: u64, seed: u64, only: Option<u64>) -> anyhow::Result<Vec<u8>> {
    Ok(wat::parse_str(text(count, seed, only))?)
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
    let pairs = pairs.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes()));
    let mut bytes = vec![0; weir_abi::wire::pairs_size(pairs.clone())];
    weir_abi::wire::encode_pairs(pairs, &mut bytes);
    bytes
}

fn text(count: u64, seed: u64, only: Option<u64>) -> String {
    let mut names = Names(Vec::new());
    let (h1, h2, nobody) = (names.add(b"h1"), names.add(b"h2"), names.add(b"nobody"));
    let none = "(i32.const 0) (i32.const 0)";
    let get = [
        (":method", "GET"),
        (":path", "/get"),
        (":authority", "soak"),
    ];
    let post = [
        (":method", "POST"),
        (":path", "/post"),
        (":authority", "soak"),
    ];
    let (get, post) = (names.add(&pairs(&get)), names.add(&pairs(&post)));
    let service = names.add(b"soak.Service");
    let (unary, stream) = (names.add(b"Unary"), names.add(b"Stream"));
    let metadata = names.add(&pairs(&[("x-metadata", "value")]));
    let message = names.add(&[b'm'; 300]);
    let metrics = ["soak_begun", "soak_ended", "soak_cancelled"].map(|n| names.add(n.as_bytes()));
    let imports: String = HOSTCALLS
        .iter()
        .map(|(name, n)| {
            let parameters = " i32".repeat(*n);
            format!(
                "(import \"env\" \"{name}\" (func ${} (param{parameters}) (result i32)))\n",
                &name["proxy_".len()..]
            )
        })
        .collect();
    let data: String = names
        .0
        .iter()
        .map(|(address, bytes)| {
            let bytes: String = bytes.iter().map(|b| format!("\\{b:02x}")).collect();
            format!("(data (i32.const {address}) \"{bytes}\")\n")
        })
        .collect();
    let grpc_call = format!(
        "(call $grpc_call {h2} {service} {unary} {metadata} {message} (call $timeout) \
         (i32.const 16))"
    );
    let pages = PLACES_AT / 65_536 + PLACES * 4 / 65_536;
    let metrics: String = metrics
        .iter()
        .enumerate()
        .map(|(n, name)| {
            format!(
                "(call $ok (call $define_metric (i32.const 1) {name} (i32.const {})))",
                20 + 4 * n
            )
        })
        .collect();
    format!(
        r#"(module {imports}
  (memory (export "memory") {pages})
  {data}
  (global $random (mut i64) (i64.const {seed}))
  (global $begun (mut i64) (i64.const 0))
  (global $ended (mut i64) (i64.const 0))
  (global $cancelled (mut i64) (i64.const 0))
  (func (export "proxy_abi_version_0_2_1"))
  ;; Nothing is read, so nothing is ever handed over.
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) unreachable)

  (func $ok (param i32) (if (local.get 0) (then unreachable)))
  (func $below (param $n i64) (result i32)
    (global.set $random (i64.add
      (i64.mul (global.get $random) (i64.const 6364136223846793005))
      (i64.const 1442695040888963407)))
    (i32.wrap_i64 (i64.rem_u (i64.shr_u (global.get $random) (i64.const 33)) (local.get $n))))
  (func $timeout (result i32) (i32.add (i32.const 20) (call $below (i64.const 60))))

  ;; The place of a token.
  (func $place (param $token i32) (result i32)
    (i32.add (i32.const {PLACES_AT})
      (i32.shl (i32.and (local.get $token) (i32.const {mask})) (i32.const 2))))
  (func $add (param $token i32)
    (if (i32.or (i32.eqz (local.get $token)) (i32.load (call $place (local.get $token))))
      (then unreachable))
    (i32.store (call $place (local.get $token)) (local.get $token))
    (global.set $begun (i64.add (global.get $begun) (i64.const 1))))
  (func $must_know (param $token i32)
    (if (i32.ne (i32.load (call $place (local.get $token))) (local.get $token))
      (then unreachable)))
  (func $remove (param $token i32)
    (call $must_know (local.get $token))
    (i32.store (call $place (local.get $token)) (i32.const 0)))
  (func $end (param $token i32)
    (call $remove (local.get $token))
    (global.set $ended (i64.add (global.get $ended) (i64.const 1))))
  (func $cancel (param $token i32)
    (call $remove (local.get $token))
    (call $ok (call $grpc_cancel (local.get $token)))
    (global.set $cancelled (i64.add (global.get $cancelled) (i64.const 1))))

  ;; One callout of any kind.
  (func $begin (local $kind i32)
    (local.set $kind {kind})
    (block $done
    (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
      (br_table $0 $1 $2 $3 $4 $5 $6 $7 (local.get $kind)))
      (call $ok (call $http_call {h1} {get} {none} {none} (call $timeout) (i32.const 16)))
      (br $done))
      (call $ok (call $http_call {h1} {post} {message} {none} (call $timeout) (i32.const 16)))
      (br $done))
      (call $ok (call $http_call {h2} {get} {none} {none} (call $timeout) (i32.const 16)))
      (br $done))
      (call $ok (call $http_call {h2} {post} {message} {metadata} (call $timeout)
        (i32.const 16)))
      (br $done))
      (call $ok {grpc_call})
      (br $done))
      ;; Nobody listens there.
      (call $ok (call $http_call {nobody} {get} {none} {none} (call $timeout) (i32.const 16)))
      (br $done))
      ;; A stream that is half-closed at once, or later, or never.
      (call $ok (call $grpc_stream {h2} {service} {stream} {metadata} (i32.const 16)))
      (call $ok (call $grpc_send (i32.load (i32.const 16)) {message}
        (call $below (i64.const 2))))
      (br $done))
      ;; One that is cancelled before it has begun.
      (call $ok {grpc_call})
      (call $add (i32.load (i32.const 16)))
      (call $cancel (i32.load (i32.const 16)))
      (return))
    (call $add (i32.load (i32.const 16))))

  (func $tell
    (call $ok (call $record_metric_64 (i32.const 20) (global.get $begun)))
    (call $ok (call $record_metric_64 (i32.const 24) (global.get $ended)))
    (call $ok (call $record_metric_64 (i32.const 28) (global.get $cancelled))))
  (func $record_metric_64 (param $id i32) (param $value i64) (result i32)
    (call $record_metric (i32.load (local.get $id)) (local.get $value)))

  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    {metrics}
    (call $ok (call $set_tick_period_milliseconds (i32.const 1)))
    (i32.const 1))
  (func (export "proxy_on_tick") (param i32) (local $n i64)
    (block $enough (loop $more
      (br_if $enough (i64.ge_u (local.get $n) (i64.const {BATCH})))
      (br_if $enough (i64.ge_u (global.get $begun) (i64.const {count})))
      (br_if $enough (i64.ge_u
        (i64.sub (i64.sub (global.get $begun) (global.get $ended)) (global.get $cancelled))
        (i64.const {LIVE_MAX})))
      (call $begin)
      (local.set $n (i64.add (local.get $n) (i64.const 1)))
      (br $more)))
    (call $tell))

  (func (export "proxy_on_http_call_response") (param $root i32) (param $token i32)
      (param i32 i32 i32)
    (call $end (local.get $token)))
  (func (export "proxy_on_grpc_receive_initial_metadata") (param i32) (param $token i32)
      (param i32)
    (call $must_know (local.get $token))
    (if (i32.eqz (call $below (i64.const 20))) (then (call $cancel (local.get $token)))))
  ;; The answer to a call, or a message of a stream.
  (func (export "proxy_on_grpc_receive") (param i32) (param $token i32) (param i32)
    (if (i32.eq (i32.and (local.get $token) (i32.const 3)) (i32.const 1))
      (then (call $end (local.get $token)) (return)))
    (call $must_know (local.get $token))
    (if (i32.eqz (call $below (i64.const 20)))
      (then (call $cancel (local.get $token)) (return)))
    (if (i32.eqz (call $below (i64.const 3)))
      (then (call $ok (call $grpc_send (local.get $token) {message} (i32.const 0))))))
  (func (export "proxy_on_grpc_receive_trailing_metadata") (param i32) (param $token i32)
      (param i32)
    (call $must_know (local.get $token)))
  ;; The end. A stream has another side, which this one closes.
  (func (export "proxy_on_grpc_close") (param i32) (param $token i32) (param i32)
    (call $end (local.get $token))
    (if (i32.eq (i32.and (local.get $token) (i32.const 3)) (i32.const 2))
      (then (call $ok (call $grpc_close (local.get $token)))))))
"#,
        mask = PLACES - 1,
        kind = only.map_or_else(
            || "(call $below (i64.const 8))".to_owned(),
            |kind| format!("(i32.const {kind})"),
        ),
    )
    .replace(
        "(func $record_metric (param i32 i32)",
        "(func $record_metric (param i32 i64)",
    )
}
