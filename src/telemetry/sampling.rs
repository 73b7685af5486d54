//! Which traces are sent.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// Sends a part of the traces, whole ones: all services that sample by the same ratio choose the same.
///
/// A caller that says that its trace is not sampled is believed. One that says that it is, is not: anybody could have
/// everything sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByRatio(pub f64);

impl ShouldSample for ByRatio {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let parent = parent_context.filter(|context| context.has_active_span());
        let parent = parent.map(|context| context.span().span_context().clone());
        let sent = |decision| SamplingResult {
            decision,
            attributes: Vec::new(),
            trace_state: TraceState::default(),
        };
        match parent {
            Some(parent) if parent.is_valid() && !parent.is_sampled() => {
                sent(SamplingDecision::Drop)
            }
            Some(parent) if parent.is_valid() && !parent.is_remote() => {
                sent(SamplingDecision::RecordAndSample)
            }
            _ => Sampler::TraceIdRatioBased(self.0)
                .should_sample(None, trace_id, name, span_kind, attributes, links),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};

    use super::*;

    fn is_sent(ratio: f64, trace: u128, parent: Option<(bool, bool)>) -> bool {
        let trace = TraceId::from(trace);
        let context = parent.map(|(is_remote, is_sampled)| {
            let flags = TraceFlags::default().with_sampled(is_sampled);
            let span = SpanId::from(7);
            let parent = SpanContext::new(trace, span, flags, is_remote, TraceState::default());
            Context::new().with_remote_span_context(parent)
        });
        let result =
            ByRatio(ratio).should_sample(context.as_ref(), trace, "", &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn a_part_of_the_traces_is_sent() {
        let spread = |n: u128| n * (u128::MAX / 1000);
        let sent = (1..1000).filter(|n| is_sent(0.1, spread(*n), None)).count();
        assert!((50..200).contains(&sent), "{sent}");
        assert!(is_sent(1.0, 7, None) && !is_sent(0.0, 7, None));
    }

    #[test]
    fn a_caller_keeps_its_trace_from_being_sent_and_cannot_have_it_sent() {
        let remote = |sampled| Some((true, sampled));
        assert!(!is_sent(1.0, 7, remote(false)));
        assert!(!is_sent(0.0, 7, remote(true)));
        assert!(is_sent(1.0, 7, remote(true)));
    }

    #[test]
    fn a_step_goes_with_its_exchange() {
        let ours = |sampled| Some((false, sampled));
        assert!(is_sent(0.0, 7, ours(true)));
        assert!(!is_sent(1.0, 7, ours(false)));
    }
}
