use super::*;
use crate::dialect::sse::Decoder;

/// What a caller sees of a stream that ends well, and the meter.
fn run(meter: StreamMeter, events: &[&str]) -> (Vec<String>, StreamMeter) {
    let (seen, meter, _) = play(meter, events);
    (seen, meter)
}

fn play(mut meter: StreamMeter, events: &[&str]) -> (Vec<String>, StreamMeter, Vec<Step>) {
    let mut decoder = Decoder::new(1 << 20);
    let (mut out, mut steps) = (Vec::new(), Vec::new());
    for event in events {
        decoder.push(Bytes::from(format!("data: {event}\n\n")));
        let event = decoder.next_event().expect("whole").expect("short");
        let step = meter.on_event(&event);
        match &step {
            Step::Forward(bytes) => out.extend_from_slice(bytes),
            Step::Done => {
                out.extend_from_slice(&meter.final_events(&Charge { cost_micros: 12, quantities: counted(), ..Charge::default() }))
            }
            _ => {}
        }
        steps.push(step);
    }
    let text = String::from_utf8(out).expect("UTF-8");
    let seen = text.split_terminator("\n\n").map(|event| event.trim_start_matches("data: ").to_owned()).collect();
    (seen, meter, steps)
}

fn counted() -> Quantities {
    Quantities { input_tokens: 1, output_tokens: 2, ..Quantities::default() }
}

fn chat(usage_asked: bool) -> StreamMeter {
    StreamMeter::new(Endpoint::ChatCompletions, usage_asked)
}

const ROLE: &str = r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
const HELLO: &str = r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"hello"}}],"usage":null}"#;
const WORLD: &str = r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":" world"}}],"usage":null}"#;
const FINISH: &str = r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#;
const USAGE: &str = r#"{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;
const PRICED: &str = r#"{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"cost":0.000012,"cost_micros":12}"#;
const MADE: &str = r#"{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"cost":0.000012,"cost_micros":12}"#;

#[test]
fn usage_that_was_asked_for_comes_in_its_own_chunk() {
    let (seen, meter) = run(chat(true), &[ROLE, HELLO, WORLD, FINISH, USAGE, "[DONE]"]);
    let priced = format!(r#"{{"id":"chatcmpl-1","choices":[],"usage":{PRICED}}}"#);
    assert_eq!(seen, [ROLE, HELLO, WORLD, FINISH, &priced, "[DONE]"]);
    assert_eq!(meter.reported().map(|quantities| (quantities.input_tokens, quantities.output_tokens)), Some((9, 2)));
    assert_eq!(meter.answer_id(), Some("chatcmpl-1"));
    assert_eq!(meter.produced_tokens(), 2);
}

#[test]
fn usage_that_was_not_asked_for_comes_with_the_finish_reason() {
    let (seen, _, steps) = play(chat(false), &[ROLE, HELLO, FINISH, USAGE, "[DONE]"]);
    assert_eq!(seen, [ROLE, HELLO, &FINISH.replace("null", PRICED), "[DONE]"]);
    assert_eq!(steps[2..], [Step::HoldBack, Step::Usage, Step::Done]);
}

#[test]
fn a_finish_chunk_may_carry_the_usage_itself() {
    let finish = FINISH.replace("null", r#"{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}"#);
    for usage_asked in [true, false] {
        let (seen, _, steps) = play(chat(usage_asked), &[HELLO, &finish, "[DONE]"]);
        assert_eq!(seen, [HELLO, &FINISH.replace("null", PRICED), "[DONE]"]);
        assert_eq!(steps[1], Step::Usage);
    }
    let (seen, _) = run(chat(true), &[HELLO, &finish, USAGE, "[DONE]"]);
    assert_eq!(seen, [HELLO, &finish, &format!(r#"{{"id":"chatcmpl-1","choices":[],"usage":{PRICED}}}"#), "[DONE]"]);
    let (seen, _) = run(chat(false), &[HELLO, &finish, USAGE, "[DONE]"]);
    assert_eq!(seen, [HELLO, &FINISH.replace("null", PRICED), "[DONE]"]);
}

#[test]
fn missing_usage_is_made() {
    let (seen, meter) = run(chat(false), &[ROLE, HELLO, FINISH, "[DONE]"]);
    assert_eq!(seen, [ROLE, HELLO, &FINISH.replace("null", MADE), "[DONE]"]);
    assert_eq!(meter.reported(), None);
    let (seen, _) = run(chat(true), &[ROLE, HELLO, FINISH, "[DONE]"]);
    let made = format!(r#"{{"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[],"usage":{MADE}}}"#);
    assert_eq!(seen, [ROLE, HELLO, FINISH, &made, "[DONE]"]);
}

#[test]
fn usage_that_cannot_be_read_is_made() {
    let odd = r#"{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":-9}}"#;
    let (seen, meter) = run(chat(false), &[HELLO, FINISH, odd, "[DONE]"]);
    assert_eq!(seen, [HELLO, &FINISH.replace("null", MADE), "[DONE]"]);
    assert_eq!(meter.reported(), None);
}

#[test]
fn a_missing_finish_reason_is_made_up() {
    let (seen, meter) = run(chat(false), &[ROLE, "[DONE]"]);
    let made = format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"stop"}}],"usage":{MADE}}}"#
    );
    assert_eq!(seen, [ROLE, &made, "[DONE]"]);
    assert!(meter.is_complete() && !meter.has_content());
}

#[test]
fn usage_in_every_chunk_is_cumulative() {
    let content = HELLO.replace("null", r#"{"prompt_tokens":9,"completion_tokens":1}"#);
    let (seen, meter, steps) = play(chat(false), &[&content, FINISH, USAGE]);
    assert_eq!(seen, [&*content]);
    assert_eq!(steps[0], Step::Forward(Bytes::from(format!("data: {content}\n\n"))));
    assert_eq!(meter.reported().map(|quantities| quantities.output_tokens), Some(2));
}

#[test]
fn several_choices_end_when_the_last_one_does() {
    let choice = |index: u32, rest: &str| format!(r#"{{"choices":[{{"index":{index},{rest}}}]}}"#);
    let finish = |index| choice(index, r#""delta":{},"finish_reason":"stop""#);
    let text = |index| choice(index, r#""delta":{"content":"x"}"#);
    let events = [text(0), text(1), finish(0), text(1), finish(1), USAGE.to_owned(), "[DONE]".to_owned()];
    let (seen, _) = run(chat(false), &events.each_ref().map(|event| &**event));
    let last = finish(1).replace("}]}", &format!("}}],\"usage\":{PRICED}}}"));
    assert_eq!(seen, [&events[0], &events[1], &events[2], &events[3], &last, "[DONE]"]);
    // A choice that begins only after another has ended releases what was held.
    let events = [text(0), finish(0), text(1)];
    let (seen, meter) = run(chat(false), &events.each_ref().map(|event| &**event));
    assert_eq!(seen, events);
    assert!(!meter.is_complete());
    // More after the end: the newest is held, so that it carries the usage.
    let (seen, _) = run(chat(false), &[&text(0), &finish(0), &choice(0, r#""delta":{},"late":1"#), "[DONE]"]);
    let late = format!(r#"{{"choices":[{{"index":0,"delta":{{}},"late":1}}],"usage":{MADE}}}"#);
    assert_eq!(seen, [&text(0), &finish(0), &late, "[DONE]"]);
}

#[test]
fn content_is_told_from_roles_and_comments() {
    let mut meter = chat(false);
    let comment = Event { raw: Bytes::from_static(b": ping\n\n"), data: Bytes::new(), event: None };
    assert_eq!(meter.on_event(&comment), Step::Forward(comment.raw.clone()));
    let (_, meter) = run(meter, &[ROLE, r#"{"choices":[],"prompt_filter_results":[]}"#]);
    assert!(!meter.has_content());
    let call = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}}]}"#;
    assert!(run(meter, &[call]).1.has_content());
    assert!(run(chat(false), &[r#"{"choices":[{"delta":{"audio":{"data":"AAAA"}}}]}"#]).1.has_content());
    assert!(run(StreamMeter::new(Endpoint::Completions, false), &[r#"{"choices":[{"text":"a"}]}"#]).1.has_content());
}

#[test]
fn failures_inside_a_stream_are_errors() {
    let error = |event: &str| match play(chat(false), &[HELLO, event]).2.pop() {
        Some(Step::Error { message }) => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(error(r#"{"error":{"message":"out of memory","code":500}}"#), "out of memory");
    assert_eq!(error(r#"{"object":"error","message":"too long"}"#), "too long");
    assert_eq!(error(r#"{"choices":[{"delta":{"conte"#), "the upstream sent an event that is not the JSON it should be");
    assert_eq!(error("[]"), "the upstream sent an event that is not the JSON it should be");
    let mut decoder = Decoder::new(100);
    decoder.push(Bytes::from_static(b"event: error\ndata: {\"message\":\"gone\"}\n\n"));
    let event = decoder.next_event().expect("whole").expect("short");
    assert_eq!(chat(false).on_event(&event), Step::Error { message: "gone".to_owned() });
}

#[test]
fn a_cut_stream_is_not_complete() {
    assert!(!run(chat(false), &[]).1.is_complete());
    assert!(!run(chat(false), &[ROLE, HELLO]).1.is_complete());
    assert!(run(chat(false), &[HELLO, FINISH]).1.is_complete());
    assert!(!run(chat(false), &[HELLO, &HELLO.replace(r#""delta""#, r#""finish_reason":"","delta""#)]).1.is_complete());
}

#[test]
fn odd_deltas_are_forwarded_and_counted() {
    let thinking = r#"{"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hello"}]}]}}]}"#;
    let (seen, meter) = run(chat(false), &[thinking]);
    assert_eq!(seen, [thinking]);
    assert_eq!(meter.produced_tokens(), 1);
}

#[test]
fn long_streams_are_counted_in_bounded_memory() {
    let mut meter = chat(false);
    let event = |text: &str| Event {
        raw: Bytes::new(),
        data: Bytes::from(format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#)),
        event: None,
    };
    for _ in 0..100 {
        meter.on_event(&event(&" word".repeat(1_000)));
        assert!(meter.uncounted.len() <= UNCOUNTED_BYTES_MAX);
    }
    assert_eq!(meter.produced_tokens(), 100_000);
}

#[test]
fn pretty_printed_chunks_stay_one_event() {
    let mut meter = chat(false);
    let mut decoder = Decoder::new(1_000);
    decoder.push(Bytes::from_static(b"data: {\"choices\":[{\"delta\":{},\ndata: \"finish_reason\":\"stop\"}]}\n\n"));
    let event = decoder.next_event().expect("whole").expect("short");
    assert_eq!(meter.on_event(&event), Step::HoldBack);
    let expected = format!("data: {{\"choices\":[{{\"delta\":{{}}, \"finish_reason\":\"stop\"}}],\"usage\":{MADE}}}\n\ndata: [DONE]\n\n");
    assert_eq!(meter.final_events(&Charge { cost_micros: 12, quantities: counted(), ..Charge::default() }), expected.as_bytes());
}
