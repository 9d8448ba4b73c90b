// A client of the recoup API, version 1. Needs Node and no packages: Node 22.18 or later runs it as it is, an earlier one after
// `tsc recoup.mts --target es2022 --module nodenext`, as recoup.mjs.
//
//     RECOUP_URL=http://127.0.0.1:8080 RECOUP_TOKEN=rcp_... node recoup.mts ORDER_ID REASON [TICKET]
//
// It retracts one order: it checks the order, sends the retraction once, and waits until the outcome is proven. It ends with 0 if
// the retraction is confirmed, with 5 if nothing was sent, and with 7 if the outcome is not proven yet.

declare const process: { argv: string[]; env: Record<string, string | undefined>; exitCode?: number };

export interface Retraction {
  id: number | null;
  action_id: string | null;
  state: string;
  message: string;
}

export interface Receipt {
  order_id: string;
  plan: string | null;
  retractions: Retraction[];
}

/** The body of an error (RFC 9457). `kind` is for programs, `detail` and `hint` are for people. */
export interface ProblemBody {
  status: number;
  kind: string;
  detail: string;
  hint?: string;
  request_id: string;
  missing_scope?: string;
  action_ids?: string[];
  overrides?: string[];
  needs_approval?: boolean;
  approval_id?: number;
}

export interface RetractRequest {
  order_id: string;
  reason: string;
  ticket?: string;
  action_id?: string;
  all?: boolean;
  overrides?: string[];
  plan?: string | null;
}

export class Problem extends Error {
  readonly body: ProblemBody;

  constructor(body: ProblemBody) {
    super(body.detail);
    this.body = body;
  }
}

const pause = (seconds: number) => new Promise((done) => setTimeout(done, seconds * 1000));

/** A retraction in one of these states is not decided yet. */
const OPEN = ["planned", "sending", "queued", "unknown", "unconfirmed"];

export class Recoup {
  private readonly url: string;
  private readonly token: string;

  constructor(url: string, token: string) {
    this.url = url;
    this.token = token;
  }

  async lookUp(order_id: string): Promise<{ verdict: string }> {
    return this.get(`/api/v1/lookup?${new URLSearchParams({ order_id })}`);
  }

  /** Checks an order live and sends nothing. */
  async preflight(order_id: string, choice: { action_id?: string; all?: "true" } = {}): Promise<Receipt> {
    return this.get(`/api/v1/preflight?${new URLSearchParams({ order_id, ...choice })}`);
  }

  /** Retracts an order. Repeating the call with the same key never retracts twice. */
  async retract(key: string, request: RetractRequest): Promise<Receipt> {
    const headers = { "Idempotency-Key": key, "Content-Type": "application/json" };
    const response = await this.request("/api/v1/retractions", { method: "POST", headers, body: JSON.stringify(request) });
    return (await response.json()) as Receipt;
  }

  /** Every matching retraction, oldest first, over all pages. */
  async *retractions(filters: Record<string, string>): AsyncGenerator<Retraction> {
    let path: string | undefined = `/api/v1/retractions?${new URLSearchParams(filters)}`;
    while (path !== undefined) {
      const response: Response = await this.request(path);
      yield* (await response.json()) as Retraction[];
      path = /<([^>]+)>; rel="next"/.exec(response.headers.get("Link") ?? "")?.[1];
    }
  }

  /** Reads the retractions of an order until each is decided, or the time is up. */
  async wait(order_id: string, seconds = 60): Promise<Retraction[]> {
    const until = Date.now() + seconds * 1000;
    for (;;) {
      const found: Retraction[] = [];
      for await (const one of this.retractions({ order_id })) found.push(one);
      if (Date.now() > until || !found.some((one) => OPEN.includes(one.state))) return found;
      await pause(1);
    }
  }

  private async get<T>(path: string): Promise<T> {
    return (await (await this.request(path)).json()) as T;
  }

  private async request(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = { Authorization: `Bearer ${this.token}`, ...(init.headers as Record<string, string>) };
    for (let attempt = 1; ; attempt++) {
      const response = await fetch(new URL(path, this.url), { ...init, headers, signal: AbortSignal.timeout(130_000) });
      if (response.ok) return response;
      const problem = new Problem((await response.json()) as ProblemBody);
      const wait = response.headers.get("Retry-After");
      // A request with its key, and every GET, can be repeated as it is. A long wait is for the caller to decide.
      if (attempt === 5 || wait === null || Number(wait) > 30) throw problem;
      await pause(Number(wait));
    }
  }
}

async function main(order_id: string, reason: string, ticket?: string): Promise<number> {
  const recoup = new Recoup(process.env.RECOUP_URL ?? "", process.env.RECOUP_TOKEN ?? "");
  console.log("look-up:", (await recoup.lookUp(order_id)).verdict);
  try {
    const checked = await recoup.preflight(order_id);
    console.log("preflight:", checked.retractions.map((one) => one.state).join(", "));
    if (checked.retractions.some((one) => one.state === "would_send")) {
      // With `plan`, the service sends exactly what the preflight has shown, or nothing.
      await recoup.retract(`${ticket ?? "example"}-${order_id}`, { order_id, reason, ticket, plan: checked.plan });
    }
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const { kind, detail, action_ids, overrides, missing_scope, approval_id, hint } = error.body;
    console.log(`not sent (${kind}): ${detail}`);
    for (const [name, fact] of Object.entries({ action_ids, overrides, missing_scope, approval_id, hint })) {
      if (fact !== undefined && fact.toString() !== "") console.log(`  ${name}: ${fact}`);
    }
    return 5;
  }
  const found = await recoup.wait(order_id);
  for (const one of found) console.log(`retraction ${one.id}: ${one.state}`);
  return found.length > 0 && found.every((one) => one.state === "confirmed") ? 0 : 7;
}

const [order_id, reason, ticket] = process.argv.slice(2);
if (order_id === undefined || reason === undefined) {
  console.error("usage: node recoup.mts ORDER_ID REASON [TICKET]");
  process.exitCode = 2;
} else {
  process.exitCode = await main(order_id, reason, ticket);
}
