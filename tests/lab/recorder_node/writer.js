// SPDX-FileCopyrightText: The redis_ha.sentinel authors
// SPDX-License-Identifier: GPL-3.0-or-later

// The recorder's writers in Node.js; started by recorder.py, which says in recorder_writer.py what they read and write.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
const { setTimeout: sleep } = require('node:timers/promises');

const COUNTERS_BYTES = 16;
const RECORDS_BUFFER_CHARACTERS = 64 * 1024;

const addressOf = ([host, port]) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);

/** What is known of one write: how often it went out, and whether any of that was left without an answer. */
class Exchange {
  sendings = 0;
  unanswered = false;
  refusal = null;

  outcome() {
    // A server that refuses the second sending says nothing about the first.
    if (this.unanswered) return 'unknown';
    return this.refusal === null ? 'not_sent' : 'refused';
  }
}

/** Where a node that is announced as `host:port` is reached from here, or undefined for just there. */
function reachable(addressMap) {
  return (announced) => {
    const separator = announced.lastIndexOf(':');
    const host = announced.slice(0, separator).replace(/^\[|\]$/g, '');
    const port = Number(announced.slice(separator + 1));
    const mapped = addressMap[addressOf([host, port])];
    if (mapped !== undefined) {
      const end = mapped.lastIndexOf(':');
      return { host: mapped.slice(0, end).replace(/^\[|\]$/g, ''), port: Number(mapped.slice(end + 1)) };
    }
    return addressMap[host] === undefined ? undefined : { host: addressMap[host], port };
  };
}

function tlsOptions(configuration) {
  const read = (file) => (file ? fs.readFileSync(file) : undefined);
  return {
    ca: read(configuration.ca_certs),
    cert: read(configuration.client_cert_file),
    key: read(configuration.client_key_file),
    rejectUnauthorized: configuration.validate_certs,
  };
}

/** ioredis with its default options. It resends by itself what was under way when a connection closed. */
async function ioredisApplication(configuration) {
  const { Redis, Command, ReplyError } = require('ioredis');
  const options = {
    sentinels: configuration.sentinels.map(([host, port]) => ({ host, port })),
    name: configuration.master_name,
    username: configuration.redis_username ?? undefined,
    password: configuration.redis_password ?? undefined,
    sentinelUsername: configuration.sentinel_username ?? undefined,
    sentinelPassword: configuration.sentinel_password ?? undefined,
    natMap: reachable(configuration.address_map),
  };
  if (configuration.tls) Object.assign(options, { tls: tlsOptions(configuration), enableTLSForSentinelMode: true });
  if (configuration.sentinel_tls) options.sentinelTLS = tlsOptions(configuration);
  const redis = new Redis(options);
  redis.on('error', () => {}); // What it means for a write, the write says.
  return {
    async set(key, value, exchange) {
      const command = new Command('set', [key, value], { replyEncoding: 'utf8' });
      const toWritable = command.toWritable.bind(command);
      command.toWritable = (stream) => {
        exchange.unanswered = exchange.sendings++ > 0;
        return toWritable(stream);
      };
      try {
        await redis.sendCommand(command);
      } catch (error) {
        if (error instanceof ReplyError) exchange.refusal = error;
        else exchange.unanswered = exchange.sendings > 0;
        throw error;
      }
    },
    close: () => redis.disconnect(),
  };
}

/** node-redis with its default options. It looks for the master again and resends by itself. */
async function nodeRedisApplication(configuration) {
  const { createSentinel, ErrorReply } = require('redis');
  const client = path.dirname(require.resolve('@redis/client/package.json'));
  const encoder = require(path.join(client, 'dist/lib/RESP/encoder.js'));
  observeEncoder(encoder);
  const clientOptions = (username, password, tls) => ({
    username: username ?? undefined,
    password: password ?? undefined,
    socket: tls ? { tls: true, ...tlsOptions(configuration) } : undefined,
  });
  const { redis_username, redis_password, sentinel_username, sentinel_password, tls, sentinel_tls } = configuration;
  const sentinel = createSentinel({
    name: configuration.master_name,
    sentinelRootNodes: configuration.sentinels.map(([host, port]) => ({ host, port })),
    nodeClientOptions: clientOptions(redis_username, redis_password, tls),
    sentinelClientOptions: clientOptions(sentinel_username, sentinel_password, sentinel_tls),
  });
  sentinel.on('error', () => {}); // What it means for a write, the write says.
  await sentinel.connect();
  return {
    // Each sending is seen here, below the loop with which the library repeats it.
    set: (key, value, exchange) =>
      sentinel._execute(false, async (node) => {
        const args = ['SET', key, value];
        let sent = false;
        args[WRITTEN] = () => {
          sent = true;
          exchange.sendings++;
        };
        try {
          await node.sendCommand(args, sentinel.commandOptions);
        } catch (error) {
          if (error instanceof ErrorReply) exchange.refusal = error;
          else if (sent) exchange.unanswered = true;
          throw error;
        }
      }),
    close: () => sentinel.destroy(),
  };
}

const WRITTEN = Symbol('called when the command is turned into the bytes that go out');

function observeEncoder(encoder) {
  const encode = encoder.default;
  if (encode.observed) return;
  encoder.default = (args) => {
    args[WRITTEN]?.();
    return encode(args);
  };
  encoder.default.observed = true;
}

const APPLICATIONS = { ioredis: ioredisApplication, 'node-redis': nodeRedisApplication };

async function writeUntil(stop, configuration, writer) {
  const application = await APPLICATIONS[configuration.client](configuration);
  const records = fs.openSync(path.join(configuration.directory, `writer-${writer}.jsonl`), 'w');
  const counters = fs.openSync(path.join(configuration.directory, 'counters'), 'r+');
  const counted = Buffer.alloc(COUNTERS_BYTES);
  const count = (offset) => {
    counted.writeBigUInt64LE(counted.readBigUInt64LE(offset) + 1n, offset);
    fs.writeSync(counters, counted, offset, 8, COUNTERS_BYTES * writer + offset);
  };
  const pauseMs = configuration.pause_ms;
  let buffered = '';
  let sequence = 0;
  const record = (beganNs, ...outcome) => {
    buffered += `${JSON.stringify([sequence, Number(beganNs), Number(process.hrtime.bigint()), ...outcome])}\n`;
    if (buffered.length < RECORDS_BUFFER_CHARACTERS) return;
    fs.writeSync(records, buffered);
    buffered = '';
  };
  for (; !stop.aborted; sequence++) {
    const exchange = new Exchange();
    const beganNs = process.hrtime.bigint();
    try {
      const key = `${configuration.key_prefix}${writer}:${sequence}`;
      await stop.bounded(writer, application.set(key, `${sequence}`, exchange));
      record(beganNs, 'acknowledged');
      count(0);
      await sleep(pauseMs);
    } catch (error) {
      if (error === GRACE_OVER) exchange.unanswered ||= exchange.sendings > 0;
      const outcome = exchange.outcome();
      record(beganNs, outcome, ...(outcome === 'refused' ? [exchange.refusal.message.split(' ', 1)[0]] : []));
      count(8);
      await sleep(configuration.backoff_ms);
    }
  }
  fs.writeSync(records, buffered);
  fs.closeSync(records);
  fs.closeSync(counters);
  application.close();
  return sequence;
}

const GRACE_OVER = new Error('the write was still under way long after the recording ended');

/** The end of the recording. A library that waits for ever, as ioredis does for a frozen server, must not put it off. */
function makeStop(graceMs) {
  const giveUp = new Map();
  const stop = {
    aborted: false,
    endedNs: null,
    bounded: (writer, write) =>
      new Promise((resolve, reject) => {
        giveUp.set(writer, reject);
        write.then(resolve, reject);
      }),
    now() {
      if (stop.aborted) return;
      stop.aborted = true;
      stop.endedNs = process.hrtime.bigint();
      setTimeout(() => giveUp.forEach((reject) => reject(GRACE_OVER)), graceMs);
    },
  };
  return stop;
}

async function main() {
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const configuration = JSON.parse((await lines.next()).value);
  const stop = makeStop(configuration.reply_timeout_s * 1000);
  let timedOut = false;
  let died = false;
  lines.next().then(({ value }) => {
    died = value !== 'end';
    stop.now();
  });
  setTimeout(() => {
    timedOut = !stop.aborted;
    stop.now();
  }, configuration.max_s * 1000).unref();
  const beganNs = process.hrtime.bigint();
  const writers = Array.from({ length: configuration.writers }, (_, writer) => writeUntil(stop, configuration, writer));
  console.log(JSON.stringify({ began_ns: Number(beganNs) }));
  const attempts = await Promise.all(writers);
  if (died) {
    // Nobody will read what was recorded.
    fs.rmSync(configuration.directory, { recursive: true });
    process.exit(0);
  }
  const { user, system } = process.cpuUsage();
  const summary = { ended_ns: Number(stop.endedNs), timed_out: timedOut, cpu_s: (user + system) / 1e6, attempts };
  console.log(JSON.stringify(summary));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
