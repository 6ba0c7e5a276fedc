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
static uint32                  n_local_requests = 0; /* without shared memory */

static void request(void);
static void startup(void);
static Size shared_size(void);
static void leave(int code, Datum arg);
static int  count_requests(Oid role);

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
pkpg_requests_add(Oid role, int limit)
{
	PkpgBackend *mine = pkpg_my_backend();
	bool         has_room;

	if (mine == NULL)
	{
		has_room = limit == 0 || n_local_requests < (uint32) limit;
		n_local_requests += has_room;
		return has_room;
	}
	LWLockAcquire(pkpg_shared->lock, LW_EXCLUSIVE);
	/* under another role meanwhile (SECURITY DEFINER): one more of whose requests are open */
	if (mine->n_requests == 0)
		mine->role = role;
	has_room = limit == 0 || count_requests(mine->role) < limit;
	mine->n_requests += has_room;
	LWLockRelease(pkpg_shared->lock);
	return has_room;
}

/* A plain store of this backend's own number: it runs where nothing may fail. */
void
pkpg_requests_remove(void)
{
	PkpgBackend *mine = pkpg_my_backend();

	if (mine == NULL)
		n_local_requests--;
	else if (mine->n_requests > 0) /* cleared already when the backend ends */
		mine->n_requests--;
}

int
pkpg_requests_of(Oid role)
{
	int n;

	if (pkpg_shared == NULL)
		return (int) n_local_requests;
	LWLockAcquire(pkpg_shared->lock, LW_SHARED);
	n = count_requests(role);
	LWLockRelease(pkpg_shared->lock);
	return n;
}

static int
count_requests(Oid role)
{
	int n = 0;

	for (int i = 0; i < pkpg_shared->n_backends; i++)
		if (pkpg_shared->backends[i].role == role)
			n += (int) pkpg_shared->backends[i].n_requests;
	return n;
}
