/*
 * updatejob.h
 *    polyko_update: walks a table by its key and updates it batch by batch.
 */
#ifndef PKPG_UPDATEJOB_H
#define PKPG_UPDATEJOB_H

#include "pg/update/updatesql.h"

/*
 * Run the whole job; says at the end how many rows were done. Between SPI_connect_ext(
 * SPI_OPT_NONATOMIC) and SPI_finish(): it commits after each batch. What spec points to lives in
 * SPI's memory.
 */
extern void pkpg_update_run(const PkpgUpdateSpec *spec);

#endif
