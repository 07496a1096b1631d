// SPDX-FileCopyrightText: The redis_ha.sentinel authors
// SPDX-License-Identifier: GPL-3.0-or-later

// One application that writes with a client library of Node.js; writer.py says what it reads and writes.
'use strict';

const fs = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');

const configuration = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const writer = Number(process.argv[3]);
const { settings, directory } = configuration;
const sentinels = configuration.sentinels.map(([host, port]) => ({ host, port }));

/** ioredis, and iovalkey, which is a fork of it. */
function ioredis(module) {
  const Client = require(module);
  const options = { sentinels, name: configuration.master_name, ...settings.options };
  // 2: connect anew, and send again what was refused.
  if (settings.reconnect_on_readonly) {
    options.reconnectOnError = (error) => (error.message.startsWith('READONLY') ? 2 : false);
  }
  if (settings.retry_ms) options.retryStrategy = () => settings.retry_ms;
  const client = new Client(options);
  client.on('error', () => {}); // What it means for a write, the write says.
  return { set: (key, value) => client.set(key, value), reset: async () => {}, close: () => client.disconnect() };
}

async function nodeRedis() {
  const { createSentinel } = require('redis');
  const client = createSentinel({
    name: configuration.master_name,
    sentinelRootNodes: sentinels,
    ...settings.options,
  });
  client.on('error', () => {});
  await client.connect();
  return { set: (key, value) => client.set(key, value), reset: async () => {}, close: () => client.destroy() };
}

const APPLICATIONS = {
  ioredis: () => ioredis('ioredis'),
  iovalkey: () => ioredis('iovalkey'),
  'node-redis': nodeRedis,
};

async function attempt(application, key, value) {
  for (let left = settings.again ?? 0; ; left--) {
    try {
      await application.set(key, value);
      return;
    } catch (error) {
      if (left === 0) throw error;
      await sleep(settings.again_ms);
    }
  }
}

async function main() {
  const application = await APPLICATIONS[configuration.library]();
  const records = fs.openSync(`${directory}/writer-${writer}.jsonl`, 'w');
  const counters = fs.openSync(`${directory}/counters`, 'r+');
  const counts = [0n, 0n];
  const deadline = process.hrtime.bigint() + BigInt(Math.round(configuration.max_s * 1e9));
  for (let sequence = 0; !fs.existsSync(`${directory}/stop`) && process.hrtime.bigint() < deadline; sequence++) {
    const began = process.hrtime.bigint();
    let said = ['acknowledged'];
    try {
      await attempt(application, `${configuration.key_prefix}${writer}:${sequence}`, `${sequence}`);
    } catch (error) {
      said = ['error', `${error.name}: ${error.message}`];
    }
    const line = [sequence, Number(began), Number(process.hrtime.bigint()), ...said];
    fs.writeSync(records, `${JSON.stringify(line)}\n`);
    const failed = said[0] === 'error' ? 1 : 0;
    const counted = Buffer.alloc(8);
    counted.writeBigUInt64LE((counts[failed] += 1n));
    fs.writeSync(counters, counted, 0, 8, 16 * writer + 8 * failed);
    await sleep(failed ? 10 : configuration.pause_ms);
  }
  application.close();
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
