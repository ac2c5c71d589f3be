//! Every hostcall with any arguments, in every callback.

use std::rc::Rc;

use bytes::Bytes;
use weir_abi::{
    BodyBuffer, CalloutToken, ContextId, Direction, DnsToken, HeaderMap, HttpCallResponse,
    PluginConfig, Reason, Vm, VmConfig, VmFailed,
};
use weir_stress::Random;

use crate::guest::Guests;
use crate::script::Script;
use crate::world::{FuzzHost, FuzzStream};

/// Callbacks of one round, at most.
const CALLBACKS: usize = 80;
const STREAMS: usize = 6;
/// What a stream can be asked for after one callback: to continue in both
/// directions, to close, and two responses.
const ASKED_MAX: u32 = 5;

/// A VM in one round.
struct Round<'a> {
    vm: Vm,
    host: Rc<FuzzHost>,
    roots: Vec<ContextId>,
    streams: Vec<(ContextId, Rc<FuzzStream>)>,
    random: &'a mut Random,
}

pub(crate) fn play(guests: &Guests, random: &mut Random) -> Result<(), String> {
    let module = &guests.modules[random.below(guests.modules.len())];
    let numbers = Random::new(random.next(), 0);
    let script = Script::new(Rc::clone(&guests.hostcalls), numbers, guests.counter());
    let host = Rc::new(FuzzHost::new(script));
    let config = VmConfig {
        vm_id: "fuzz".into(),
        configuration: Bytes::from_static(b"of the VM"),
        environment: vec![("A".into(), "1".into()), ("B".into(), "x".repeat(5000))],
        ..VmConfig::default()
    };
    host.script.begin();
    // What a start function may not call ends it.
    let Ok(vm) = Vm::new(module, config, host.clone()) else {
        return Ok(());
    };
    let mut round = Round {
        vm,
        host,
        roots: Vec::new(),
        streams: Vec::new(),
        random,
    };
    for _ in 0..CALLBACKS {
        round.host.script.begin();
        let outcome = round.step();
        for (_, stream) in &round.streams {
            let asked = stream.asked();
            if asked > ASKED_MAX {
                return Err(format!("a stream was asked {asked} times for something"));
            }
        }
        if outcome.is_err() && round.vm.failure().is_some() {
            break;
        }
    }
    round.finish()
}

impl Round<'_> {
    /// One callback.
    fn step(&mut self) -> Result<(), VmFailed> {
        let random = &mut *self.random;
        if self.roots.is_empty() || (self.roots.len() < 3 && random.percent(3)) {
            // A guest may refuse to start.
            let plugin = PluginConfig {
                name: "p".into(),
                configuration: Bytes::from_static(b"of the plugin"),
                allow_on_headers_stop_iteration: random.percent(50),
                ..PluginConfig::default()
            };
            self.roots.extend(self.vm.start_plugin(plugin).ok());
            return self.vm.failure().map_or(Ok(()), |_| Err(VmFailed));
        }
        let root = self.roots[random.below(self.roots.len())];
        if self.streams.is_empty() || (self.streams.len() < STREAMS && random.percent(10)) {
            let stream = Rc::new(FuzzStream::new());
            let id = self.vm.create_stream(root, stream.clone(), 0)?;
            self.streams.push((id, stream));
            return Ok(());
        }
        let at = random.below(self.streams.len());
        let stream = self.streams[at].0;
        let direction = [Direction::Request, Direction::Response][random.below(2)];
        let end = random.percent(50);
        match random.below(20) {
            0..3 => self.vm.on_request_headers(stream, end).map(drop),
            3..5 => self.vm.on_response_headers(stream, end).map(drop),
            5..9 => self.vm.on_body(stream, direction, 8198, end).map(drop),
            9..11 => self.vm.on_trailers(stream, direction).map(drop),
            11 => self.vm.on_tick(root),
            12 => self.vm.on_log(stream),
            13 => {
                self.streams.swap_remove(at);
                self.vm.delete_stream(stream)
            }
            16 => self.vm.on_queue_ready(root, random.next() as u32 % 4),
            17 => {
                let lookup = self.host.script.lookups.borrow().first().copied();
                self.vm.on_resolve_dns(DnsToken(lookup.unwrap_or(9)), &[])
            }
            14 => self.vm.log_stream(root, Rc::new(FuzzStream::new())),
            15 if random.percent(10) => {
                self.roots.retain(|r| *r != root);
                self.vm.stop_plugin(root)
            }
            _ => self.callout(),
        }
    }

    /// Something comes for a callout, or for none.
    fn callout(&mut self) -> Result<(), VmFailed> {
        let random = &mut *self.random;
        let tokens = self.host.script.tokens.borrow().clone();
        let known = tokens.iter().nth(random.below(tokens.len())).copied();
        let token = CalloutToken(known.filter(|_| random.percent(90)).unwrap_or(64));
        let map = || HeaderMap::from_iter([(":status", "200"), ("x", "y")]);
        let message = Bytes::from(vec![1; 300]);
        match (token.0 & 3, random.below(4)) {
            (0, kind) => {
                let mut body = BodyBuffer::new();
                body.push(message);
                let response = HttpCallResponse {
                    headers: map(),
                    body,
                    trailers: (kind == 1).then(map),
                };
                let response = (kind > 0).then_some(response);
                self.vm.on_http_call_response(token, response)
            }
            (_, 0) => self.vm.on_grpc_close(token, 14, message),
            (1, _) => self.vm.on_grpc_message(token, message),
            (_, 1) => self.vm.on_grpc_initial_metadata(token, map()),
            (_, 2) => self.vm.on_grpc_trailing_metadata(token, map()),
            _ => self.vm.on_grpc_message(token, message),
        }
    }

    /// A guest may only fail in a way that it was told to.
    fn finish(self) -> Result<(), String> {
        let (script, vm) = (&self.host.script, &self.vm);
        if let Some(failure) = vm.failure()
            && (!script.may_fail.get() || failure.reason == Reason::Stack)
        {
            let last = script.last.borrow();
            return Err(format!("the guest failed at {last}: {failure}"));
        }
        let under_way = || script.tokens.borrow().len() + script.lookups.borrow().len();
        let (open, tokens) = (vm.active_callouts(), under_way());
        if open != tokens {
            return Err(format!("{open} callouts are under way, of {tokens}"));
        }
        vm.discard();
        let left = under_way();
        if left > 0 {
            return Err(format!("{left} callouts outlive their VM"));
        }
        Ok(())
    }
}
