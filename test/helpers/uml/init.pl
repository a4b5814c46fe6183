#!/usr/bin/perl
# The first process of a User-Mode Linux guest: puts a scratch layer over the machine's own root, loads the modules it is told to,
# runs one command, leaves its exit code in the results folder and powers off. Perl, as it is on every Debian and needs no
# programs for what is one system call. It judges nothing: guest.ts reads what it leaves.
use strict;
use warnings;
use POSIX qw(tcdrain);
use Socket;

# linux/amd64, the only architecture the package is built for.
my ($SYS_SYNC, $SYS_REBOOT, $SYS_FINIT_MODULE) = (162, 169, 313);
my ($SIOCGIFFLAGS, $SIOCSIFFLAGS, $IFF_UP) = (0x8913, 0x8914, 0x1);

sub power_off { syscall($SYS_SYNC); syscall($SYS_REBOOT, 0xfee1dead, 672274793, 0x4321fedc, 0); exit 1 }
sub give_up { print STDERR "guest: $_[0]\n"; power_off() }
sub run { system(@_) == 0 or give_up("failed: @_") }

sub slurp {
  open(my $file, '<', $_[0]) or give_up("$_[0]: $!");
  local $/;
  return scalar <$file>;
}

sub load_module {
  open(my $file, '<', $_[0]) or give_up("$_[0]: $!");
  my $options = '';
  syscall($SYS_FINIT_MODULE, fileno($file), $options, 0) == 0 or give_up("$_[0]: $!");
}

sub loopback_up {
  socket(my $socket, AF_INET, SOCK_DGRAM, 0) or give_up("socket: $!");
  my $request = pack('a16 x24', 'lo');
  ioctl($socket, $SIOCGIFFLAGS, $request) or give_up("lo: $!");
  my $flags = unpack('x16 s', $request) | $IFF_UP;
  $request = pack('a16 s x22', 'lo', $flags);
  ioctl($socket, $SIOCSIFFLAGS, $request) or give_up("lo: $!");
}

$ENV{PATH} = '/usr/sbin:/usr/bin:/sbin:/bin';
# From the kernel's command line. The folder holds what guest.ts wrote.
my $job = $ENV{FDPASS_JOB} // give_up('no FDPASS_JOB on the command line');
my @modules = split(/\0/, slurp("$job/modules"));
my @command = split(/\0/, slurp("$job/command"));
my %environment = map { split(/=/, $_, 2) } split(/\0/, slurp("$job/environment"));
my $folder = slurp("$job/folder");

run('mount', '-t', 'tmpfs', 'tmpfs', '/mnt');
mkdir("/mnt/$_") or give_up("mkdir $_: $!") for qw(upper work root);
load_module($_) for @modules;
run('mount', '-t', 'overlay', '-o', 'lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work', 'overlay', '/mnt/root');
my $root = '/mnt/root';
run('mount', '-t', 'proc', 'proc', "$root/proc");
run('mount', '-t', 'sysfs', 'sysfs', "$root/sys");
run('mount', '-t', 'devtmpfs', 'devtmpfs', "$root/dev");
mkdir("$root/dev/$_") for qw(pts shm);
run('mount', '-t', 'devpts', 'devpts', "$root/dev/pts");
run('mount', '-t', 'tmpfs', 'tmpfs', "$root/dev/shm");
run('mount', '-t', 'tmpfs', 'tmpfs', "$root/run");
run('mount', '-t', 'hostfs', '-o', $_, 'hostfs', "$root$_") for split(/\0/, slurp("$job/writable"));
symlink('/proc/self/fd', "$root/dev/fd");
chroot($root) or give_up("chroot: $!");
loopback_up();

run('stty', '-F', "/dev/$_", 'raw', '-echo') for qw(ttyS0 ttyS1);
open(my $output, '>', '/dev/ttyS0') or give_up("ttyS0: $!");
open(my $errors, '>', '/dev/ttyS1') or give_up("ttyS1: $!");
my $pid = fork() // give_up("fork: $!");
if ($pid == 0) {
  open(STDIN, '<', '/dev/null');
  open(STDOUT, '>&', $output);
  open(STDERR, '>&', $errors);
  chdir($folder) or print STDERR "$folder: $!\n" and exit 126;
  %ENV = %environment;
  exec { $command[0] } @command or print STDERR "$command[0]: $!\n" and exit 127;
}
# Reaps whatever loses its parent on the way.
my $ended;
do { $ended = wait() } until $ended == $pid;
my $code = $? & 127 ? 128 + ($? & 127) : $? >> 8;
tcdrain(fileno($_)) for $output, $errors;
open(my $result, '>', "$job/results/exit-code") or give_up("exit-code: $!");
print $result $code;
close($result);
power_off();
