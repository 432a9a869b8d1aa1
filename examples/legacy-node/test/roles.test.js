// Against a real PostgreSQL and a real dormouse on the same database:
//   DATABASE_URL=postgres://… DORMOUSE_URL=http://127.0.0.1:8080 npm test
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import pg from "pg";

import { Roles } from "../roles.js";

const { DATABASE_URL, DORMOUSE_URL } = process.env;
assert.ok(DATABASE_URL && DORMOUSE_URL, "DATABASE_URL and DORMOUSE_URL say where the two are");

const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 4 });
const roles = new Roles(pool);

before(() => roles.createTable());
after(() => pool.end());

async function dormouse(path, body) {
  const init = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(DORMOUSE_URL + path, init);
  return { status: answer.status, body: await answer.json() };
}

test("dormouse sees at once what was recorded beside the row", async () => {
  assert.equal(await roles.create("r1", { code: "admin", name: "Admin" }), 1);
  assert.equal(await roles.rename("r1", "Boss"), 2);

  const { status, body } = await dormouse("/v1/aggregates/Role/r1");

  assert.equal(status, 200);
  assert.equal(body.version, 2);
  assert.equal(body.state.name, "Boss");
  const { rows } = await pool.query("select name from legacy_role where id = 'r1'");
  assert.equal(rows[0].name, "Boss");
});

test("both write to one role, and no change is lost", async () => {
  await roles.create("r2", { code: "both", name: "0" });
  const theirs = async () => {
    for (let turn = 1; turn <= 20; turn += 1) await roles.rename("r2", `theirs ${turn}`);
  };
  const ours = async () => {
    for (let turn = 1; turn <= 20; ) {
      const renamed = await dormouse("/v1/aggregates/Role/r2/commands/update", { name: `ours ${turn}` });
      // Other writers kept winning: it says so, and may be sent again.
      assert.ok(renamed.status === 200 || renamed.body.code === "write-conflict", JSON.stringify(renamed));
      if (renamed.status === 200) turn += 1;
    }
  };

  await Promise.all([theirs(), ours()]);

  const { body } = await dormouse("/v1/aggregates/Role/r2/events?limit=1000");
  assert.deepEqual(body.events.map((event) => event.version), Array.from({ length: 41 }, (_, index) => index + 1));
  const renames = body.events.filter((event) => event.event_type === "RoleUpdatedEvent");
  assert.equal(renames.filter((event) => event.created_by === "legacy-node").length, 20);
});

test("a transaction that is rolled back leaves neither a row nor an event", async () => {
  await assert.rejects(roles.create("r3", { code: "admin", name: "Again" }), /legacy_role_code_key/);

  assert.equal((await dormouse("/v1/aggregates/Role/r3")).status, 404);
});

test("a unique value that this service took is taken for dormouse too", async () => {
  await roles.create("r4", { code: "only-one", name: "x" });

  const refused = await dormouse("/v1/aggregates/Role/r5/commands/create", { code: "only-one", name: "y" });

  assert.equal(refused.status, 409);
  assert.equal(refused.body.code, "claim-taken");
});

test("the log has their events without a gap", async () => {
  const count = async () => Number((await pool.query("select count(*) from domain_events where position is null")).rows[0].count);
  for (let tries = 0; (await count()) > 0; tries += 1) {
    assert.ok(tries < 200, "the journal numbers what it finds");
    await new Promise((resume) => setTimeout(resume, 50));
  }

  const { rows } = await pool.query("select position from domain_events order by position");

  assert.deepEqual(rows.map((row) => Number(row.position)), rows.map((_, index) => index + 1));
});
