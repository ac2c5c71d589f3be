//! `expr_create`, `expr_evaluate`, `expr_delete`: expressions in CEL over the
//! attributes of a request.
//!
//! An expression is checked when it is created: its size, how deeply it nests, the
//! functions that it calls, and that no macro can make much of little. What it costs
//! to evaluate is bounded by that.

mod check;
mod encode;
mod variables;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use cel::{Context as Scope, Env, Program, Value};
use rustc_hash::FxHashMap;

use super::{Call, Given};
use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSIONS_MAX};
use crate::types::Status;

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// The expressions of one root context, by token.
#[derive(Default, Clone)]
pub(crate) struct Expressions {
    next: Cell<u32>,
    live: RefCell<FxHashMap<u32, Rc<Expression>>>,
}

impl Expressions {
    /// Becomes what `others` are.
    pub(crate) fn replace(&self, others: &Self) {
        self.next.set(others.next.get());
        self.live.replace(others.live.borrow().clone());
    }
}

struct Expression {
    program: Program,
    /// The attributes that it names, as paths.
    paths: Vec<Vec<String>>,
}

pub(super) fn create(call: &Call<'_>) -> Result<Given, Status> {
    let expressions = &call.context.root().expressions;
    let mut live = expressions.live.borrow_mut();
    if call.argument.len() > EXPRESSION_BYTES_MAX || live.len() >= EXPRESSIONS_MAX {
        return Err(Status::BadArgument);
    }
    let source = std::str::from_utf8(call.argument).map_err(|_| Status::BadArgument)?;
    let expression = compiled(source).ok_or(Status::BadArgument)?;
    let token = expressions.next.get();
    expressions.next.set(token.wrapping_add(1));
    live.insert(token, Rc::new(expression));
    Ok(Some(token.to_le_bytes().to_vec()))
}

fn compiled(source: &str) -> Option<Expression> {
    if !check::is_shallow(source) {
        return None;
    }
    // A library that panics over a text must not end the guest.
    let program = catch_unwind(|| ENV.compile(source)).ok()?.ok()?;
    let paths = check::paths(program.expression())?;
    Some(Expression { program, paths })
}

fn token(call: &Call<'_>) -> Result<u32, Status> {
    let token = call.argument.try_into().map_err(|_| Status::BadArgument)?;
    Ok(u32::from_le_bytes(token))
}

pub(super) fn delete(call: &Call<'_>) -> Result<Given, Status> {
    let token = token(call)?;
    let expressions = &call.context.root().expressions;
    expressions.live.borrow_mut().remove(&token);
    Ok(None)
}

pub(super) fn evaluate(call: &Call<'_>) -> Result<Given, Status> {
    let token = token(call)?;
    let live = call.context.root().expressions.live.borrow();
    let expression = live.get(&token).cloned().ok_or(Status::NotFound)?;
    drop(live);
    if let Some(group) = expression.program.expression().expr.as_ident_name()
        && variables::is_opaque(group)
    {
        return Err(Status::SerializationFailure);
    }
    if let cel::common::ast::Expr::Call(call) = &expression.program.expression().expr
        && call.func_name == "type"
    {
        // A type has no encoding.
        return Err(Status::SerializationFailure);
    }
    let mut scope = Scope::with_env(Arc::clone(&ENV));
    let variables = variables::of(call.state, call.context, &expression.paths);
    for (name, value) in variables {
        scope.add_variable_from_value(name, value);
    }
    let result = catch_unwind(AssertUnwindSafe(|| expression.program.execute(&scope)));
    let value: Value = result
        .map_err(|_| Status::InternalFailure)?
        .map_err(|_| Status::InternalFailure)?;
    encode::encoded(&value).map(Some)
}

/// The name that an expression is, if it is nothing else.
trait AsIdentName {
    fn as_ident_name(&self) -> Option<&str>;
}

impl AsIdentName for cel::common::ast::Expr {
    fn as_ident_name(&self) -> Option<&str> {
        match self {
            Self::Ident(name) => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_expressions_are_refused_and_overflow_nothing() {
        for (unit, count) in [
            ("(", 100_000),
            ("(", 2000),
            ("[", 2000),
            ("!", 3000),
            ("-", 3000),
            ("a.", 2000),
            ("{1:", 1000),
            ("true?", 800),
            ("size(", 800),
        ] {
            assert!(compiled(&unit.repeat(count)).is_none(), "{unit}");
        }
        let closed = |n: usize| format!("{}1{}", "(".repeat(n), ")".repeat(n));
        assert!(compiled(&closed(20)).is_some());
        assert!(compiled(&closed(2000)).is_none());
        for (left, n, last) in [("!", 3000, "true"), ("1+", 2000, "1"), ("a.", 2000, "b")] {
            assert!(compiled(&(left.repeat(n) + last)).is_none(), "{left}");
        }
    }

    #[test]
    fn macros_that_multiply_are_refused() {
        for text in [
            "['a'].map(x,x+x).map(x,x+x)",
            "[1].map(x,[1].map(y,[1].map(z,z)))",
            "[1].all(x,[1].all(y,[1].all(z,true)))",
        ] {
            assert!(compiled(text).is_none(), "{text}");
        }
        for text in [
            "[1,2].map(x,x*2)",
            "[[1]].all(y,y.all(x,x>0))",
            "[1].filter(x,x+1>1)",
        ] {
            assert!(compiled(text).is_some(), "{text}");
        }
    }

    #[test]
    fn only_functions_of_envoy_are_known() {
        for text in ["foo()", "'a'.lowerAscii()", "size()", "base64.encode(b'a')"] {
            assert!(compiled(text).is_none(), "{text}");
        }
    }
}
