//! Metrics that guests define. Identifiers are those of the C++ host: a number
//! that counts up by VM and kind, with the kind in its two low bits.

use super::{Cx, Outcome, Table};
use crate::host::{DefineError, MetricType};
use crate::limits::METRIC_NAME_BYTES_MAX;
use crate::types::Status;
use crate::vm_limits::Limit;

pub(super) fn define(t: &mut Table) {
    t.call("proxy_define_metric", define_metric);
    t.call("proxy_increment_metric", increment_metric);
    t.call("proxy_record_metric", record_metric);
    t.call("proxy_get_metric", get_metric);
}

fn kind_of(number: u32) -> Option<MetricType> {
    match number {
        0 => Some(MetricType::Counter),
        1 => Some(MetricType::Gauge),
        2 => Some(MetricType::Histogram),
        _ => None,
    }
}

fn define_metric(c: &mut Cx<'_>, kind: u32, name: u32, length: u32, id_out: u32) -> Outcome {
    let number = kind;
    let kind = kind_of(kind).ok_or(Status::BadArgument)?;
    c.slice(id_out, 4)?;
    let state = c.state().clone();
    if length as usize > METRIC_NAME_BYTES_MAX {
        c.read(name, length)?;
        return Err(Status::BadArgument.into());
    }
    let name = String::from_utf8_lossy(c.read(name, length)?).into_owned();
    let mut metrics = state.metrics.borrow_mut();
    if metrics.iter().map(Vec::len).sum::<usize>() >= state.config.limits.metrics {
        state.limit_reached(Limit::Metrics);
        return Err(Status::InternalFailure.into());
    }
    let metric = state
        .host
        .define_metric(kind, &name)
        .map_err(|error| match error {
            DefineError::Unsupported => Status::Unimplemented,
            DefineError::TooMany => Status::InternalFailure,
        })?;
    let of_kind = &mut metrics[number as usize];
    of_kind.push(metric);
    let id = u32::try_from(of_kind.len()).map_err(|_| Status::InternalFailure)?;
    Ok(c.write_u32(id_out, id << 2 | number)?)
}

/// The metric `id`, as far as its kind allows what is asked of it. An unknown
/// identifier is judged by the kind it claims, as in Envoy.
fn with_metric<R>(
    c: &Cx<'_>,
    id: u32,
    allowed: &[MetricType],
    then: impl FnOnce(MetricType, &dyn crate::host::Metric) -> Result<R, Status>,
) -> Result<R, Status> {
    let number = id & 3;
    let kind = kind_of(number).filter(|kind| allowed.contains(kind));
    let kind = kind.ok_or(Status::BadArgument)?;
    let metrics = c.state().metrics.borrow();
    let index = (id as usize >> 2).checked_sub(1).ok_or(Status::NotFound)?;
    let metric = metrics[number as usize].get(index);
    then(kind, &**metric.ok_or(Status::NotFound)?)
}

/// A counter only grows; a gauge moves both ways.
fn increment_metric(c: &mut Cx<'_>, id: u32, delta: u64) -> Outcome {
    let delta = delta.cast_signed();
    let allowed = [MetricType::Counter, MetricType::Gauge];
    with_metric(c, id, &allowed, |kind, metric| {
        if kind == MetricType::Counter && delta <= 0 {
            return Err(Status::BadArgument);
        }
        metric.add(delta);
        Ok(())
    })?;
    Ok(())
}

/// Adds to a counter, sets a gauge, gives a histogram a sample.
fn record_metric(c: &mut Cx<'_>, id: u32, value: u64) -> Outcome {
    let allowed = [
        MetricType::Counter,
        MetricType::Gauge,
        MetricType::Histogram,
    ];
    let found = with_metric(c, id, &allowed, |_, metric| {
        metric.record(value);
        Ok(())
    });
    // No kind forbids recording: a kind that does not exist is an unknown metric.
    found.map_err(|_| Status::NotFound)?;
    Ok(())
}

fn get_metric(c: &mut Cx<'_>, id: u32, value_out: u32) -> Outcome {
    let allowed = [MetricType::Counter, MetricType::Gauge];
    let value = with_metric(c, id, &allowed, |_, metric| Ok(metric.value()))?;
    Ok(c.write(value_out, &value.to_le_bytes())?)
}
