# frozen_string_literal: true

# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

# One application that writes with redis-rb; writer.py says what it reads and writes.

require 'json'
require 'redis'

CONFIGURATION = JSON.parse(File.read(ARGV[0]))
WRITER = Integer(ARGV[1])
SETTINGS = CONFIGURATION['settings']
DIRECTORY = CONFIGURATION['directory']
ERRORS = [Redis::BaseError, SystemCallError, IOError].freeze

def connect
  sentinels = CONFIGURATION['sentinels'].map { |host, port| { host: host, port: port } }
  options = (SETTINGS['redis'] || {}).transform_keys(&:to_sym)
  Redis.new(url: "redis://#{CONFIGURATION['master_name']}", sentinels: sentinels, role: :master, **options)
end

def now_ns
  Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
end

$client = connect

def attempt(key, value)
  left = SETTINGS['again'] || 0
  begin
    $client.set(key, value)
  rescue *ERRORS
    $client.close if SETTINGS['reset']
    raise if left.zero?

    left -= 1
    sleep(SETTINGS['again_ms'] / 1000.0)
    retry
  end
end

records = File.open("#{DIRECTORY}/writer-#{WRITER}.jsonl", 'w')
records.sync = true
counters = File.open("#{DIRECTORY}/counters", 'r+b')
counts = [0, 0]
deadline = now_ns + (CONFIGURATION['max_s'] * 1e9)
sequence = 0
until File.exist?("#{DIRECTORY}/stop") || now_ns > deadline
  began = now_ns
  said = ['acknowledged']
  begin
    attempt("#{CONFIGURATION['key_prefix']}#{WRITER}:#{sequence}", sequence.to_s)
  rescue *ERRORS => e
    said = ['error', "#{e.class}: #{e.message}"]
  end
  records.write("#{JSON.generate([sequence, began, now_ns, *said])}\n")
  failed = said[0] == 'error' ? 1 : 0
  counts[failed] += 1
  counters.pwrite([counts[failed]].pack('Q<'), (16 * WRITER) + (8 * failed))
  sleep((failed == 1 ? 10 : CONFIGURATION['pause_ms']) / 1000.0)
  sequence += 1
end
