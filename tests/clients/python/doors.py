"""The public SDKs of OpenAI and Anthropic, unmodified, against the HTTP doors of the router.

Each claim is a function. The simulator behind the router is told what its models do. Run it against
`bulkhead up --simulate`:

    python doors.py --router 127.0.0.1:7101 --simulator 127.0.0.1:PORT --token-file bulkhead-data/tokens/agent
"""

import argparse
import asyncio
import json
import pathlib
import urllib.request

import anthropic
import openai
from pydantic import BaseModel

HELLO = [{"role": "user", "content": "Sum up the minutes."}]
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
FUNCTION = {"type": "function", "function": {"name": "fs.read", "description": "Reads.", "parameters": SCHEMA}}
TOOL = {"name": "fs.read", "description": "Reads.", "input_schema": SCHEMA}
CALL = {"reply": {"tool_calls": [{"name": "fs.read", "input": {"path": "a.md"}}]}}
STORY = {"reply": {"chunks": ["Once ", "upon ", "a ", "time"]}}


def text(words):
    return {"reply": {"text": words}}


class World:
    """The router's doors, and the simulator that stands in for its models."""

    def __init__(self, router, simulator, token):
        self.router, self.simulator, self.token = router, simulator, token

    def openai(self, **options):
        options = {"api_key": self.token, "max_retries": 0, **options}
        return openai.OpenAI(base_url=f"http://{self.router}/v1", **options)

    def anthropic(self, **options):
        options = {"api_key": self.token, "max_retries": 0, **options}
        return anthropic.Anthropic(base_url=f"http://{self.router}", **options)

    def always(self, action, model="primary"):
        """What a model does with every request from now on."""
        url = f"http://{self.simulator}/control/scripts?model=sim-{model}"
        body = json.dumps({"then": {"action": action}}).encode()
        headers = {"content-type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PUT"), timeout=20)


def raises(kind, call):
    """The error that a call ends with."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def openai_answers(world):
    world.always(text("Three points."))
    client = world.openai()
    completion = client.chat.completions.create(model="default", messages=HELLO, temperature=0.5, user="ada")
    choice = completion.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Three points.", "stop"), completion
    assert (completion.model, completion.object) == ("default", "chat.completion")
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert len(completion._request_id) == 36
    raw = client.chat.completions.with_raw_response.create(model="default", messages=HELLO)
    assert (raw.headers["x-bulkhead-model"], raw.headers["x-bulkhead-attempts"]) == ("primary", "1")


def openai_calls_tools(world):
    client, messages = world.openai(), list(HELLO)
    world.always(CALL)
    ask = {"model": "default", "tools": [FUNCTION], "parallel_tool_calls": False}
    message = client.chat.completions.create(messages=messages, **ask).choices[0].message
    call = message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("fs.read", {"path": "a.md"})
    world.always(text("It is empty."))
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "Nothing."}]
    assert client.chat.completions.create(messages=messages, **ask).choices[0].message.content == "It is empty."


def openai_streams(world):
    client = world.openai()
    world.always(STORY)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(model="default", messages=HELLO, **options))
    told = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert told == "Once upon a time", told
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].usage.total_tokens > 0
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    world.always(CALL)
    with client.chat.completions.stream(model="default", messages=HELLO, tools=[FUNCTION]) as stream:
        events = [event.type for event in stream]
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert "tool_calls.function.arguments.done" in events, events
    assert (call.function.name, json.loads(call.function.arguments)) == ("fs.read", {"path": "a.md"})


def openai_parses(world):
    class Sum(BaseModel):
        total: int

    world.always(text('```json\n{"total": 7}\n```'))
    client = world.openai()
    parsed = client.chat.completions.parse(model="default", messages=HELLO, response_format=Sum)
    assert parsed.choices[0].message.parsed == Sum(total=7), parsed
    with client.chat.completions.stream(model="default", messages=HELLO, response_format=Sum) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == Sum(total=7)


def openai_works_asynchronously(world):
    async def told():
        client = openai.AsyncOpenAI(base_url=f"http://{world.router}/v1", api_key=world.token, max_retries=0)
        stream = await client.chat.completions.create(model="default", messages=HELLO, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    world.always(STORY)
    assert asyncio.run(told()) == "Once upon a time"


def openai_lists_models(world):
    client = world.openai()
    assert [model.id for model in client.models.list()] == ["default"]
    assert client.models.retrieve("default").owned_by == "bulkhead"
    assert raises(openai.NotFoundError, lambda: client.models.retrieve("gpt-4o")).code == "model_not_found"


def openai_understands_errors(world):
    client = world.openai(max_retries=2)
    create = client.chat.completions.create
    error = raises(openai.NotFoundError, lambda: create(model="gpt-4o", messages=HELLO))
    assert error.code == "model_not_found" and "default" in error.message, error
    error = raises(openai.BadRequestError, lambda: create(model="default", messages=HELLO, n=2))
    assert (error.param, error.code) == ("n", "INVALID_REQUEST"), error
    stranger = world.openai(api_key="nobody")
    error = raises(openai.AuthenticationError, lambda: stranger.models.list())
    assert error.code == "CREDENTIAL_REQUIRED" and len(error.request_id) == 36, error
    key = {"idempotency-key": "openai_understands_errors"}
    world.always(text("Once."))
    create(model="default", messages=HELLO, extra_headers=key)
    other = lambda: create(model="default", messages=HELLO, max_tokens=7, extra_headers=key)
    error = raises(openai.ConflictError, other)
    assert (error.code, error.response.headers["x-should-retry"]) == ("REQUEST_ID_REUSED", "false"), error


def openai_hears_of_a_broken_stream(world):
    world.always({"stream_fault": {"how": "cut", "after_pieces": 2, "reply": STORY["reply"]}})
    stream = world.openai().chat.completions.create(model="default", messages=HELLO, stream=True)
    error = raises(openai.APIError, lambda: list(stream))
    assert error.code == "STREAM_BROKEN", error


def anthropic_answers(world):
    world.always(text("Three points."))
    client = world.anthropic()
    message = client.messages.create(model="default", max_tokens=99, messages=HELLO, system="Be brief.")
    assert (message.content[0].text, message.stop_reason) == ("Three points.", "end_turn"), message
    assert (message.model, message.role) == ("default", "assistant")
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0
    assert len(message._request_id) == 36
    bearer = world.anthropic(api_key=None, auth_token=world.token)
    assert bearer.messages.create(model="default", max_tokens=99, messages=HELLO).content[0].text == "Three points."


def anthropic_calls_tools(world):
    client, messages = world.anthropic(), list(HELLO)
    world.always(CALL)
    ask = {"model": "default", "max_tokens": 99, "tools": [TOOL], "tool_choice": {"type": "any"}}
    message = client.messages.create(messages=messages, **ask)
    call = message.content[0]
    assert (message.stop_reason, call.name, call.input) == ("tool_use", "fs.read", {"path": "a.md"}), message
    world.always(text("It is empty."))
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Nothing.", "is_error": True}
    messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    ask["tool_choice"] = {"type": "auto"}
    assert client.messages.create(messages=messages, **ask).content[0].text == "It is empty."


def anthropic_counts_tokens(world):
    count = world.anthropic().messages.count_tokens
    few = count(model="default", messages=HELLO, system="Be brief.").input_tokens
    more = count(model="default", messages=HELLO, system="Be brief.", tools=[TOOL]).input_tokens
    assert 0 < few < more < 200, (few, more)
    raises(anthropic.NotFoundError, lambda: count(model="claude", messages=HELLO))


def anthropic_thinks(world):
    world.always({"reply": {"thinking": "Hm.", "text": "So."}})
    ask = {"model": "default", "max_tokens": 4_000, "thinking": {"type": "enabled", "budget_tokens": 2_000}}
    client, messages = world.anthropic(), list(HELLO)
    with client.messages.stream(messages=messages, **ask) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"], message
    assert (message.content[0].thinking, message.content[1].text) == ("Hm.", "So.")
    messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": "And?"}]
    assert client.messages.create(messages=messages, **ask).content[1].text == "So."


def anthropic_streams(world):
    client = world.anthropic()
    world.always(STORY)
    with client.messages.stream(model="default", max_tokens=99, messages=HELLO) as stream:
        assert list(stream.text_stream) == ["Once ", "upon ", "a ", "time"]
        final = stream.get_final_message()
    assert (final.content[0].text, final.stop_reason) == ("Once upon a time", "end_turn"), final
    assert final.usage.input_tokens > 0 and final.usage.output_tokens > 0
    world.always(CALL)
    with client.messages.stream(model="default", max_tokens=99, messages=HELLO, tools=[TOOL]) as stream:
        call = stream.get_final_message().content[0]
    assert (call.name, call.input) == ("fs.read", {"path": "a.md"})


def anthropic_works_asynchronously(world):
    async def told():
        client = anthropic.AsyncAnthropic(base_url=f"http://{world.router}", api_key=world.token, max_retries=0)
        async with client.messages.stream(model="default", max_tokens=99, messages=HELLO) as stream:
            return "".join([piece async for piece in stream.text_stream])

    world.always(STORY)
    assert asyncio.run(told()) == "Once upon a time"


def anthropic_lists_models(world):
    client = world.anthropic()
    assert [model.id for model in client.models.list()] == ["default"]
    assert client.models.retrieve("default").display_name == "default"
    raises(anthropic.NotFoundError, lambda: client.models.retrieve("claude"))


def anthropic_understands_errors(world):
    client = world.anthropic(max_retries=2)
    create = client.messages.create
    error = raises(anthropic.NotFoundError, lambda: create(model="claude", max_tokens=9, messages=HELLO))
    assert error.type == "not_found_error" and "default" in error.message, error
    assert len(error.request_id) == 36
    elsewhere = lambda: create(model="default", max_tokens=9, messages=HELLO, inference_geo="eu")
    error = raises(anthropic.BadRequestError, elsewhere)
    assert "inference_geo" in error.message and "INVALID_REQUEST" in error.message, error
    stranger = world.anthropic(api_key="nobody")
    error = raises(anthropic.AuthenticationError, lambda: stranger.models.list())
    assert error.type == "authentication_error", error


def anthropic_hears_of_a_broken_stream(world):
    world.always({"stream_fault": {"how": "cut", "after_pieces": 2, "reply": STORY["reply"]}})
    stream = world.anthropic().messages.create(model="default", max_tokens=99, messages=HELLO, stream=True)
    error = raises(anthropic.APIStatusError, lambda: list(stream))
    assert "STREAM_BROKEN" in error.message, error


def silence_disturbs_nobody(world):
    """Both at once, since each waits for longer than a stream is silent without a sign of life."""

    async def told():
        chat = openai.AsyncOpenAI(base_url=f"http://{world.router}/v1", api_key=world.token, max_retries=0)
        messages = anthropic.AsyncAnthropic(base_url=f"http://{world.router}", api_key=world.token, max_retries=0)

        async def of_one():
            stream = await chat.chat.completions.create(model="default", messages=HELLO, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        async def of_the_other():
            async with messages.messages.stream(model="default", max_tokens=99, messages=HELLO) as stream:
                return "".join([piece async for piece in stream.text_stream])

        return await asyncio.gather(of_one(), of_the_other())

    world.always({"reply": {**STORY["reply"], "first_after_ms": 11_000}})
    assert asyncio.run(told()) == ["Once upon a time"] * 2


def sensitive_requests_stay_local(world):
    world.always(text("From nearby."), model="local")
    headers = {"x-bulkhead-sensitivity": "health", "x-bulkhead-session-id": "s1"}
    create = world.openai().chat.completions.with_raw_response.create
    raw = create(model="default", messages=HELLO, extra_headers=headers)
    assert raw.headers["x-bulkhead-model"] == "local"
    create = world.anthropic().messages.with_raw_response.create
    raw = create(model="default", max_tokens=99, messages=HELLO, extra_headers=headers)
    assert raw.headers["x-bulkhead-model"] == "local"


def dry_runs_ask_nobody(world):
    headers = {"x-bulkhead-dry-run": "true"}
    completion = world.openai().chat.completions.create(model="default", messages=HELLO, extra_headers=headers)
    assert completion.choices[0].message.content is None
    assert completion.bulkhead["planned"] == ["primary", "fallback", "local"], completion


def delays_are_passed_on(world):
    """Last but one: the models rest for a while after it."""
    for model in ["primary", "fallback", "local"]:
        world.always({"status": {"code": 429, "retry_after": {"seconds": 30}}}, model)
    create = world.openai().chat.completions.create
    error = raises(openai.InternalServerError, lambda: create(model="default", messages=HELLO))
    assert error.code == "NO_MODEL_ANSWERED" and 20_000 < int(error.response.headers["retry-after-ms"]) <= 30_000
    create = world.anthropic().messages.create
    error = raises(anthropic.InternalServerError, lambda: create(model="default", max_tokens=9, messages=HELLO))
    assert 20 < int(error.response.headers["retry-after"]) <= 30, error


def guesses_are_limited(world):
    """Last: unknown tokens from here are not looked at for a moment after it."""
    for kind, client in [(openai, world.openai(api_key="a guess")), (anthropic, world.anthropic(api_key="a guess"))]:
        for _ in range(1_000):
            error = raises(kind.APIStatusError, client.models.list)
            if error.status_code == 429:
                break
        assert isinstance(error, kind.RateLimitError), error
        assert error.response.headers["retry-after"] == "1"


CLAIMS = [
    openai_answers,
    openai_calls_tools,
    openai_streams,
    openai_parses,
    openai_works_asynchronously,
    openai_lists_models,
    openai_understands_errors,
    openai_hears_of_a_broken_stream,
    anthropic_answers,
    anthropic_calls_tools,
    anthropic_counts_tokens,
    anthropic_thinks,
    anthropic_streams,
    anthropic_works_asynchronously,
    anthropic_lists_models,
    anthropic_understands_errors,
    anthropic_hears_of_a_broken_stream,
    silence_disturbs_nobody,
    sensitive_requests_stay_local,
    dry_runs_ask_nobody,
    delays_are_passed_on,
    guesses_are_limited,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--router", required=True)
    parser.add_argument("--simulator", required=True)
    parser.add_argument("--token-file", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    world = World(arguments.router, arguments.simulator, arguments.token_file.read_text().strip())
    for claim in CLAIMS:
        claim(world)
        print(claim.__name__)


if __name__ == "__main__":
    main()
