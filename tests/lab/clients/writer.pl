# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

# One application that writes with Perl's Redis; writer.py says what it reads and writes.

use strict;
use warnings;
use JSON::PP;
use Redis;
use Time::HiRes qw(clock_gettime sleep CLOCK_MONOTONIC);

my ($file, $writer) = @ARGV;
my $configuration = decode_json(do { local (@ARGV, $/) = ($file); <> });
my $settings = $configuration->{settings};
my $directory = $configuration->{directory};
my @sentinels = map { "$_->[0]:$_->[1]" } @{ $configuration->{sentinels} };
my $client;

# Whole numbers, however long the machine has been up.
sub now_ns { return sprintf('%d', clock_gettime(CLOCK_MONOTONIC) * 1e9) + 0 }

sub attempt {
    my ($key, $value) = @_;
    my $left = $settings->{again} // 0;
    while (1) {
        return if eval {
            $client //= Redis->new(
                sentinels => [@sentinels],
                service => $configuration->{master_name},
                %{ $settings->{redis} // {} },
            );
            $client->set($key, $value);
            1;
        };
        my $error = $@;
        undef $client if $settings->{reset};
        die $error if $left-- == 0;
        sleep($settings->{again_ms} / 1000);
    }
}

open(my $records, '>', "$directory/writer-$writer.jsonl") or die $!;
$records->autoflush(1);
open(my $counters, '+<:raw', "$directory/counters") or die $!;
$counters->autoflush(1);
my @counts = (0, 0);
my $deadline = now_ns() + $configuration->{max_s} * 1e9;
for (my $sequence = 0; !-e "$directory/stop" && now_ns() < $deadline; $sequence++) {
    my $began = now_ns();
    my $failed = eval { attempt("$configuration->{key_prefix}$writer:$sequence", $sequence); 1 } ? 0 : 1;
    my @said = $failed ? ('error', "$@") : ('acknowledged');
    print $records encode_json([$sequence + 0, $began, now_ns(), @said]), "\n";
    seek($counters, 16 * $writer + 8 * $failed, 0);
    print $counters pack('Q<', ++$counts[$failed]);
    sleep(($failed ? 10 : $configuration->{pause_ms}) / 1000);
}
