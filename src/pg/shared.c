/*
 * shared.c
 *    What all processes of the server share when polyko is preloaded.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "pg/compat.h"
#include "pg/shared.h"

#define TRANCHE "polyko"

PkpgShared *pkpg_shared = NULL;

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;
static PkpgBackend             local; /* without shared memory */

static void request(void);
static void startup(void);
static Size shared_size(void);
static void leave(int code, Datum arg);
static int  count_requests(Oid role, bool with_ahead);
static int  n_of(const PkpgBackend *backend, bool with_ahead);

void
pkpg_shared_init(void)
{
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}

static void
request(void)
{
	if (previous_request != NULL)
		previous_request();
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche(TRANCHE, 1);
}

static Size
shared_size(void)
{
	return add_size(offsetof(PkpgShared, backends),
	                mul_size(sizeof(PkpgBackend), (Size) MaxBackends));
}

static void
startup(void)
{
	bool is_found;

	if (previous_startup != NULL)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	pkpg_shared = ShmemInitStruct("polyko", shared_size(), &is_found);
	if (!is_found)
	{
		memset(pkpg_shared, 0, shared_size());
		pkpg_shared->lock = &GetNamedLWLockTranche(TRANCHE)->lock;
		pkpg_shared->n_backends = MaxBackends;
		pkpg_shared->reset_at = GetCurrentTimestamp();
	}
	LWLockRelease(AddinShmemInitLock);
}

PkpgBackend *
pkpg_my_backend(void)
{
	static bool is_entered = false;
	int         i = pkpg_my_number();

	if (pkpg_shared == NULL || i < 0 || i >= pkpg_shared->n_backends)
		return NULL;
	if (!is_entered)
	{
		memset(&pkpg_shared->backends[i], 0, sizeof(PkpgBackend));
		before_shmem_exit(leave, Int32GetDatum(i));
		is_entered = true;
	}
	return &pkpg_shared->backends[i];
}

static void
leave(int code, Datum arg)
{
	(void) code;
	memset(&pkpg_shared->backends[DatumGetInt32(arg)], 0, sizeof(PkpgBackend));
}

bool
pkpg_requests_add(Oid role, bool is_ahead, int limit)
{
	PkpgBackend *mine = pkpg_my_backend();
	bool         has_room;

	if (mine == NULL)
	{
		has_room = limit == 0 || n_of(&local, is_ahead) < limit;
		local.n_requests += has_room;
		local.n_ahead += has_room && is_ahead;
		return has_room;
	}
	LWLockAcquire(pkpg_shared->lock, LW_EXCLUSIVE);
	/* under another role meanwhile (SECURITY DEFINER): one more of whose requests are open */
	if (mine->n_requests == 0)
		mine->role = role;
	has_room = limit == 0 || count_requests(mine->role, is_ahead) < limit;
	mine->n_requests += has_room;
	mine->n_ahead += has_room && is_ahead;
	LWLockRelease(pkpg_shared->lock);
	return has_room;
}

void
pkpg_requests_remove(bool is_ahead)
{
	PkpgBackend *mine = pkpg_my_backend();
	bool         is_shared = mine != NULL;

	if (!is_shared)
		mine = &local;
	if (mine->n_requests == 0) /* cleared already when the backend ends */
		return;
	if (is_shared)
		LWLockAcquire(pkpg_shared->lock, LW_EXCLUSIVE);
	mine->n_requests--;
	mine->n_ahead -= is_ahead;
	if (is_shared)
		LWLockRelease(pkpg_shared->lock);
}

int
pkpg_requests_of(Oid role, bool with_ahead)
{
	int n;

	if (pkpg_shared == NULL)
		return n_of(&local, with_ahead);
	LWLockAcquire(pkpg_shared->lock, LW_SHARED);
	n = count_requests(role, with_ahead);
	LWLockRelease(pkpg_shared->lock);
	return n;
}

static int
count_requests(Oid role, bool with_ahead)
{
	int n = 0;

	for (int i = 0; i < pkpg_shared->n_backends; i++)
		if (pkpg_shared->backends[i].role == role)
			n += n_of(&pkpg_shared->backends[i], with_ahead);
	return n;
}

static int
n_of(const PkpgBackend *backend, bool with_ahead)
{
	return (int) (backend->n_requests - (with_ahead ? 0 : backend->n_ahead));
}
