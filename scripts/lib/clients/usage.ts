// Uses the generated types as a client would. It is compiled and not run: tsc refuses it where a
// type is not what a client needs.

import type { components, operations } from "./conn-log";

type Event = components["schemas"]["Event"];
type EventRecord = components["schemas"]["EventRecord"];
type Answer<Operation extends { responses: object }, Status extends keyof Operation["responses"]> =
    Operation["responses"][Status] extends { content: { "application/json": infer Body } }
        ? Body
        : never;
type Body<Operation> = Operation extends {
    requestBody: { content: infer Content };
}
    ? Content extends { "application/json": infer Json } ? Json : never
    : never;
type Same<A, B> = [A, B] extends [B, A] ? true : false;

// The record keeps its name, and is one type in each answer.
const registered: Same<Answer<operations["event_register"], 201>, EventRecord> = true;
const repeated: Same<Answer<operations["event_register"], 200>, EventRecord> = true;
const read: Same<Answer<operations["event_get"], 200>, EventRecord> = true;
const listed: Same<Answer<operations["event_list"], 200>["results"], EventRecord[]> = true;

// A body is one type.
const one: Same<Body<operations["event_register"]>, Event> = true;
const many: Same<Body<operations["event_register_batch"]>, Event[]> = true;

const event: Event = {
    device_id: "dev_1",
    application_id: "app_1",
    connection_type: "established",
    timestamp: "2024-01-15T10:30:00Z",
    status: "success",
    metadata: { zone: "eu", port: 443 },
};

// @ts-expect-error A type of connection that the server does not take.
const misspelt: Event = { ...event, connection_type: "establishd" };

// @ts-expect-error A field that every event has.
const incomplete: Event = { device_id: "dev_1" };

type Filters = NonNullable<operations["event_list"]["parameters"]["query"]>;

const filters: Filters = {
    device_id: ["dev_1", "dev_2"],
    since: "2024-01-15T00:00:00Z",
    metadata: { "metadata.zone": "eu" },
    order: "-timestamp",
    limit: 10,
};

// @ts-expect-error An order that no list has.
const disorder: Filters = { order: "device_id" };

function explain(problem: components["schemas"]["Problem"]): string {
    const faults = problem.errors ?? [];
    return [problem.detail, ...faults.map((fault) => `${fault.pointer}: ${fault.code}`)].join("\n");
}

function address(record: EventRecord): string {
    // Always there, null where the event has none; a session id is there only where it has one.
    const { ip_address, session_id }: { ip_address: string | null; session_id?: string } = record;
    return `${ip_address ?? "nowhere"} ${session_id ?? ""}`;
}

function refused(results: components["schemas"]["BatchResults"]): number[] {
    return results.results.filter((result) => result.problem).map((result) => result.index);
}

export {
    address, disorder, event, explain, filters, incomplete, listed, many, misspelt, one, read,
    refused, registered, repeated,
};
