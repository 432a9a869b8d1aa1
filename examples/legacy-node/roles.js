// A role as this service has always kept it, in a table of its own; what happens to it is recorded in
// dormouse's log, in the transaction that changes the row: both happen, or neither.
import { ulid } from "./ulid.js";

/** Another writer had the version: everything is read and decided again. */
const UNIQUE_VIOLATION = "23505";
const VERSION_KEY = "domain_events_stream_key";
const MAX_TRIES = 10;

/** @typedef {{ type: string, data: object }} RecordedChange */

export class Roles {
  /**
   * @param {import("pg").Pool} pool
   * @param {string} who stored with each event as `created_by`, up to 26 characters
   */
  constructor(pool, who = "legacy-node") {
    this.pool = pool;
    this.who = who;
  }

  /** The table that was there before dormouse. */
  async createTable() {
    await this.pool.query(
      "create table if not exists legacy_role (id varchar(64) primary key, code text not null unique, name text not null)",
    );
  }

  /**
   * @param {string} id
   * @param {{ code: string, name: string }} role
   */
  async create(id, { code, name }) {
    return this.#change(id, async (client) => {
      await client.query("insert into legacy_role (id, code, name) values ($1, $2, $3)", [id, code, name]);
      // What is unique among dormouse's roles is taken here too: the other side cannot give it away.
      await client.query(
        "insert into aggregate_claims (aggregate_type, claim, value, aggregate_id) values ('Role', 'code', $1, $2)",
        [code, id],
      );
      return { type: "RoleCreatedEvent", data: { code, name, description: null, pid: "0" } };
    });
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  async rename(id, name) {
    return this.#change(id, async (client) => {
      const { rowCount } = await client.query("update legacy_role set name = $2 where id = $1", [id, name]);
      if (rowCount === 0) throw new Error(`there is no role ${id}`);
      return { type: "RoleUpdatedEvent", data: { name } };
    });
  }

  /**
   * One transaction: the row, and the event of what was done to it. Where another writer has stored
   * the same version meanwhile, all of it is done again on top of that.
   *
   * @param {string} id
   * @param {(client: import("pg").PoolClient) => Promise<RecordedChange>} work
   * @returns {Promise<number>} the version of the event
   */
  async #change(id, work) {
    for (let tries = 1; ; tries += 1) {
      const client = await this.pool.connect();
      try {
        await client.query("begin");
        const { type, data } = await work(client);
        const version = await this.#record(client, id, type, data);
        await client.query("commit");
        return version;
      } catch (error) {
        await client.query("rollback");
        const lostTheVersion = error.code === UNIQUE_VIOLATION && error.constraint === VERSION_KEY;
        if (!lostTheVersion || tries === MAX_TRIES) throw error;
      } finally {
        client.release();
      }
      await new Promise((resume) => setTimeout(resume, Math.random() * 20 * tries));
    }
  }

  /** Last in its transaction: from the insert to the commit, dormouse's commands on this role wait. */
  async #record(client, id, type, data) {
    const { rows } = await client.query(
      `insert into domain_events (id, aggregate_type, aggregate_id, version, event_type, event_data,
           occurred_at, created_by, correlation_id)
       select $1, 'Role', $2::varchar, coalesce(max(version), 0) + 1, $3, $4, now(), $5, $6
       from domain_events where aggregate_type = 'Role' and aggregate_id = $2::varchar
       returning version`,
      [ulid(), id, type, JSON.stringify(data), this.who, ulid()],
    );
    return Number(rows[0].version);
  }
}
