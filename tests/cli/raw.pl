# SPDX-License-Identifier: BSD-2-Clause
# Sends stdin to HOST:PORT as it is and prints what comes back, until the peer closes or SECONDS are over.
# usage: perl raw.pl HOST:PORT SECONDS <bytes        exit 0: closed by the peer, 3: time over
use strict;
use warnings;
use IO::Socket::INET;
use IO::Select;
use Time::HiRes qw(time);
my ($addr, $seconds) = @ARGV;
my $s = IO::Socket::INET->new(PeerAddr => $addr, Proto => 'tcp') or die "connect: $!";
$SIG{PIPE} = 'IGNORE';
binmode STDIN;
binmode STDOUT;
local $/;
my $out = <STDIN>;
my $end = time + $seconds;
my $sel = IO::Select->new($s);
$s->blocking(0);
while (time < $end) {
    my $w = length($out) ? $sel : undef;
    my ($r) = IO::Select->select($sel, $w, undef, 0.05);
    if (length $out) {
        my $n = syswrite($s, $out, 65536);
        if (defined $n) { substr($out, 0, $n) = '' }
        elsif (!$!{EAGAIN}) { $out = '' }
    }
    next unless $r && @$r;
    my $n = sysread($s, my $in, 65536);
    next if !defined $n && $!{EAGAIN};
    exit 0 if !$n;
    syswrite(STDOUT, $in);
}
exit 3;
