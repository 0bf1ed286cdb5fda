// The loops over a cost or kernel matrix, (n,m) row-major. All sums have a fixed
// order: the same machine gives the same bits.
#include <stddef.h>

// exp_all replaces every x by e^x.
void ot_exp(double *x, ptrdiff_t len);

// span writes the extremes of c; it returns 0 where an entry is not finite.
int ot_span(const double *c, ptrdiff_t len, double *lo, double *hi);

// cold makes k = exp((min of the row − c)·inv), meets the rows for v = 1 by u,
// and writes alpha = min·inv and s = kᵀu.
void ot_cold(ptrdiff_t n, ptrdiff_t m, const double *c, double inv, const double *a,
             double *k, double *alpha, double *u, double *s);

// exponentiate makes k = exp(alpha⊕beta − c·inv).
void ot_exponentiate(ptrdiff_t n, ptrdiff_t m, const double *c, double inv,
                     const double *alpha, const double *beta, double *k);

// rows meets the row marginals, u = a/(k v), and sums the columns, s = kᵀu.
void ot_rows(ptrdiff_t n, ptrdiff_t m, const double *k, const double *v, const double *a,
             double *u, double *s);

// curve is s = kᵀ(u²/a ∘ k v).
void ot_curve(ptrdiff_t n, ptrdiff_t m, const double *k, const double *v, const double *a,
              const double *u, double *s);

// plan makes p = u∘k∘v and returns ⟨p,c⟩.
double ot_plan(ptrdiff_t n, ptrdiff_t m, const double *k, const double *u, const double *v,
               const double *c, double *p);
