/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one program: see commands.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cli.h"
#include "commands.h"

/*
 * Who is started with one of them closed would have some file or socket in its place, and read and
 * write that. They are opened so that reading and writing fail as if they were closed.
 */
static void hold_standard_places(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			_exit(MR_EXIT_REFUSED); /* nobody could be told why */
	}
}

int main(int argc, char **argv)
{
	hold_standard_places();
	return mr_commands_run(argc, argv);
}
